"""Other processes at one log: ``python -m tests.events.processes TASK PATH``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from tests.events.log_helpers import append, open_file_log, some_lines

ROOT = Path(__file__).parents[2]
BATCHES, BATCH = 100, 3


async def _append(path: Path) -> None:
    """Append many small batches, as fast as the lock comes."""
    async with open_file_log(path) as log:
        for _ in range(BATCHES):
            await append(log, BATCH)


async def _hold(path: Path) -> None:
    """Lock the log and never let go."""
    async with open_file_log(path) as log, log.exclusive(5):
        _say("locked")
        await asyncio.sleep(3600)


async def _half(path: Path) -> None:
    """Lock the log and die in the middle of a write: two lines and a half are there."""
    async with open_file_log(path) as log, log.exclusive(5) as appender:
        lines, _ = some_lines(3, appender.head)
        torn = b"\n".join(lines)[: -len(lines[-1]) // 2]
        with path.open("ab") as file:
            file.write(torn)
        _say("locked")
        await asyncio.sleep(3600)


TASKS: Mapping[str, Callable[[Path], Coroutine[None, None, None]]] = {
    "append": _append,
    "hold": _hold,
    "half": _half,
}


def _say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def start(task: str, path: Path) -> subprocess.Popen[str]:
    """Another process at that task."""
    command = [sys.executable, "-W", "error", "-m", "tests.events.processes", task, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def start_locked(task: str, path: Path) -> subprocess.Popen[str]:
    """The same, once it holds the lock."""
    process = start(task, path)
    if process.stdout is None or process.stdout.readline() != "locked\n":
        raise AssertionError("the other process did not get the lock")
    return process


if __name__ == "__main__":
    asyncio.run(TASKS[sys.argv[1]](Path(sys.argv[2])))
