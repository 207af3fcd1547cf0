"""Watching a process from below, with strace."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STRACE = shutil.which("strace")
SECONDS = 10.0

needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace: apt-get install strace")


@contextmanager
def traced(pid: int, output: Path, *expressions: str) -> Iterator[None]:
    """Record the system calls of a process in all of its threads, or meddle with them."""
    chosen = [word for expression in expressions for word in ("-e", expression)]
    command = [STRACE or "strace", "-f", "-s", "4096", *chosen, "-o", str(output), "-p", str(pid)]
    said = output.with_suffix(".said")
    with said.open("wb") as file:
        tracer = subprocess.Popen(command, stderr=file, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while "attached" not in said.read_text():
            if tracer.poll() is not None:
                pytest.skip(f"strace may not look at other processes: {said.read_text()}")
            assert time.monotonic() < deadline, "strace has not attached"
            time.sleep(0.02)
        yield
    finally:
        tracer.terminate()
        tracer.wait(SECONDS)
