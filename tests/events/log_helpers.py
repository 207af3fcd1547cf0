"""Helpers for tests of the log: lines to append, and logs written by hand."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from eventapi.testing.items import Content, ItemCreated, ItemDeleted
from events.codec import encode
from events.log.check import follow_chain
from events.log.file.commit_index import CommitIndex
from events.log.file.log import JsonlLog
from events.log.file.paths import commit_index_path
from events.log.port import EventLog, Head
from events.record import START, Event, Record
from events.sealing import Keyring

TILE = 4
"""Lines of a frame, so few that short logs have segments."""

P = ParamSpec("P")

SOURCE = "urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8"
TIME = "2026-01-02T03:04:05.000006Z"
EMPTY = Head()

mark_of = commit_index_path


def in_event_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test to its end, in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def keyring(*subjects: str) -> Keyring:
    """Make a keyring with a key for each subject."""
    keys = Keyring()
    for number, subject in enumerate(subjects):
        keys.add(subject, bytes([number]) * 32)
    return keys


def some_lines(
    count: int, head: Head = EMPTY, *, remaining: bool = False, size: int = 0
) -> tuple[list[bytes], Head]:
    """Make ``count`` lines that continue ``head``; return them and the new head.

    With ``remaining``, recovery keeps all of them or none. ``size`` is the length of their text.
    """
    lines = []
    keys = keyring("users/1")
    for left in reversed(range(count)):
        number = head.position + 1
        event: Event = ItemDeleted()
        if size:
            event = ItemCreated(1, personal=Content("x" * size))
        owner = "users/1" if size else ""
        record = Record(number, SOURCE, f"items/{number}", TIME, "users/1", event, owner)
        line, digest = encode(record, head.hash, keys, bytes(12), left if remaining else 0)
        lines.append(line)
        head = Head(number, digest)
    return lines, head


@asynccontextmanager
async def open_file_log(path: Path) -> AsyncIterator[JsonlLog]:
    """Open a JSON-lines log, and close it at the end."""
    log = JsonlLog(path)
    try:
        yield log
    finally:
        await log.close()


async def append(
    log: EventLog, count: int = 1, *, size: int = 0, timeout: float = 5
) -> list[bytes]:
    """Lock the log and append ``count`` lines at once; return them."""
    async with log.exclusive(timeout) as appender:
        lines, head = some_lines(count, appender.head, size=size)
        await appender.append(lines, head)
    return lines


async def read_all(log: EventLog, after: int = 0, upto: int | None = None) -> list[bytes]:
    """Read lines, and return all of them."""
    return [line async for run in log.read(after, upto) for line in run]


async def recover(log: EventLog) -> Head:
    """Lock the log, which recovers it; return its head."""
    async with log.exclusive(5) as appender:
        return appender.head


def publish(path: Path, lines: Sequence[bytes], head: Head) -> None:
    """Write a commit index that publishes these lines."""
    index = CommitIndex(commit_index_path(path))
    index.publish(sum(map(len, lines)) + len(lines), head)
    index.close()


def set_polled_position(index: Path, position: int) -> None:
    """Set the word that readers poll, as if a writer died before it stored it."""
    overwrite(index, 0, struct.pack("=Q", position))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file in place; its mappings show them at once."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def file_bytes(lines: Sequence[bytes]) -> bytes:
    """Return the bytes of a file with these lines."""
    return b"".join(line + b"\n" for line in lines)


def quarantined_tails(path: Path) -> list[bytes]:
    """Return the tails that recovery cut off, oldest first."""
    return [file.read_bytes() for file in sorted((path.parent / "quarantine").glob("*"))]


async def check_chain(log: EventLog) -> None:
    """Check the hash chain of all lines; raises `DamagedLog`."""
    async for _ in follow_chain(log, START, log.position):
        pass
