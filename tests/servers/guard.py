"""Kill the servers that a test process left running.

The guard, ``python -m tests.servers.guard``, reads lines from standard input: ``PID FOLDER`` for a
server that was started as leader of a process group, ``0 FOLDER`` for one that was stopped. When
the input ends, because the test process exited or died, the guard kills the remaining groups and
removes their folders.

The kernel's parent-death signal is not enough: it is bound to the thread that started the server,
and lost when the server changes its user.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def watch(pid: int, folder: Path) -> None:
    """Kill this server and remove its folder when this process dies."""
    pipe = _guard().stdin
    assert pipe is not None
    pipe.write(f"{pid} {folder}\n".encode())
    pipe.flush()


def unwatch(folder: Path) -> None:
    """Forget the server of this folder, which has been stopped."""
    watch(0, folder)


@cache
def _guard() -> subprocess.Popen[bytes]:
    """Start the guard of this process, in its own session to survive signals."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    atexit.register(guard.communicate)
    return guard


def guard(lines: Iterable[str]) -> None:
    """Track running servers until the lines end, then kill the rest."""
    running: dict[str, int] = {}
    for line in lines:
        pid, folder = line.rstrip("\n").split(" ", 1)
        running[folder] = int(pid)
    for folder, group in running.items():
        if group:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(sys.stdin)
