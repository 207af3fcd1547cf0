"""Other processes that use a log: ``python -m tests.events.processes TASK PATH``."""

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
    """Append many small batches, as fast as the lock can be acquired."""
    async with open_file_log(path) as log:
        for _ in range(BATCHES):
            await append(log, BATCH)


async def _hold(path: Path) -> None:
    """Lock the log and never release it."""
    async with open_file_log(path) as log, log.exclusive(5):
        _print("locked")
        await asyncio.sleep(3600)


async def _half(path: Path) -> None:
    """Lock the log and stop in the middle of a write, after two and a half lines."""
    async with open_file_log(path) as log, log.exclusive(5) as appender:
        lines, _ = some_lines(3, appender.head)
        torn = b"\n".join(lines)[: -len(lines[-1]) // 2]
        with path.open("ab") as file:
            file.write(torn)
        _print("locked")
        await asyncio.sleep(3600)


TASKS: Mapping[str, Callable[[Path], Coroutine[None, None, None]]] = {
    "append": _append,
    "hold": _hold,
    "half": _half,
}


def _print(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def start(task: str, path: Path) -> subprocess.Popen[str]:
    """Start another process that does a task."""
    command = [sys.executable, "-W", "error", "-m", "tests.events.processes", task, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def start_locked(task: str, path: Path) -> subprocess.Popen[str]:
    """Start another process that does a task, and wait until it holds the lock."""
    process = start(task, path)
    if process.stdout is None or process.stdout.readline() != "locked\n":
        raise AssertionError("the other process did not get the lock")
    return process


if __name__ == "__main__":
    asyncio.run(TASKS[sys.argv[1]](Path(sys.argv[2])))
