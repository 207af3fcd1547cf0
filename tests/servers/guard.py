"""Ends what a process left running when it died: ``python -m tests.servers.guard``.

On its standard input come lines: ``PROCESS FOLDER`` for a server that was started, as the leader
of a process group, ``0 FOLDER`` for one that is done with. When the input ends, however that came
about, the others are killed and their folders removed. A death signal of the
kernel would not do: it is bound to the thread that started a server, and lost by a change of user.
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
    """Have the server of this folder ended, and the folder removed, should this process die."""
    pipe = _guard().stdin
    assert pipe is not None
    pipe.write(f"{pid} {folder}\n".encode())
    pipe.flush()


def forget(folder: Path) -> None:
    """The server of this folder has ended, and the folder is gone."""
    watch(0, folder)


@cache
def _guard() -> subprocess.Popen[bytes]:
    """The guard of this process, in a session of its own: what ends this one must not reach it."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    atexit.register(guard.communicate)
    return guard


def guard(lines: Iterable[str]) -> None:
    """Note who runs until the lines end, then end all that are left."""
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
