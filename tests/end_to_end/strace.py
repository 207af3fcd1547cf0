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
def traced(pid: int, output: Path, *expressions: str, paths: bool = False) -> Iterator[None]:
    """Record the system calls of a process in all of its threads, or meddle with them.

    With ``paths``, descriptors are shown with what they are open on.
    """
    chosen = [word for expression in expressions for word in ("-e", expression)]
    options = ["-f", "-s", "4096", *(["-y"] if paths else []), *chosen]
    command = [STRACE or "strace", *options, "-o", str(output), "-p", str(pid)]
    said = output.with_suffix(".said")
    with said.open("wb") as file:
        tracer = subprocess.Popen(command, stderr=file, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while "attached" not in said.read_text():
            if tracer.poll() is not None:
                pytest.skip(f"strace may not look at other processes: {said.read_text()}")
            assert time.monotonic() < deadline, "strace has not attached"
            time.sleep(0.005)
        yield
    finally:
        tracer.terminate()
        tracer.wait(SECONDS)
