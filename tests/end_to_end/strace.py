"""Trace the system calls of a process with strace, or inject faults into them."""

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
def traced(
    pid: int, output: Path, *expressions: str, paths: bool = False, only: Path | None = None
) -> Iterator[None]:
    """Trace all threads of a process; ``expressions`` are those of strace's option -e.

    With ``paths``, the trace shows the file behind each descriptor. With ``only``, calls about other
    files are neither traced nor disturbed.
    """
    chosen = [word for expression in expressions for word in ("-e", expression)]
    if only is not None:
        chosen += ["-P", str(only)]
    options = ["-f", "-s", "4096", *(["-y"] if paths else []), *chosen]
    command = [STRACE or "strace", *options, "-o", str(output), "-p", str(pid)]
    messages = output.with_suffix(".messages")
    with messages.open("wb") as file:
        tracer = subprocess.Popen(command, stderr=file, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while "attached" not in messages.read_text():
            if tracer.poll() is not None:
                pytest.skip(f"strace may not trace other processes: {messages.read_text()}")
            assert time.monotonic() < deadline, "strace has not attached"
            time.sleep(0.005)
        yield
    finally:
        tracer.terminate()
        tracer.wait(SECONDS)
