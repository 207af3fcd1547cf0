"""What the tests of the log have in common: async tests, lines to append, logs laid by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from events.codec import encode
from events.log.file.commit_index import CommitIndex
from events.log.file.log import JsonlLog
from events.log.port import EventLog, Head
from events.record import Event, Record
from events.sealing import Keyring
from events.vocabulary.items import Content, ItemCreated, ItemDeleted

P = ParamSpec("P")

SOURCE = "urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8"
TIME = "2026-01-02T03:04:05.000006Z"
EMPTY = Head()


_at_end: ContextVar[AsyncExitStack] = ContextVar("at_end")


def at_end(close: Callable[[], Awaitable[None]]) -> None:
    """Have something closed when the test that runs in an event loop has ended."""
    _at_end.get().push_async_callback(close)


def in_event_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test to its end, in a loop of its own; what it left to `at_end` is closed."""

    async def played(*args: P.args, **kwargs: P.kwargs) -> None:
        async with AsyncExitStack() as stack:
            _at_end.set(stack)
            await test(*args, **kwargs)

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(played(*args, **kwargs))

    return run


def keyring(*subjects: str) -> Keyring:
    """A keyring with a key for each subject."""
    keys = Keyring()
    for number, subject in enumerate(subjects):
        keys.add(subject, bytes([number]) * 32)
    return keys


def some_lines(
    count: int, head: Head = EMPTY, *, remaining: bool = False, size: int = 0
) -> tuple[list[bytes], Head]:
    """So many lines that continue ``head``, and the head after them.

    ``remaining`` makes them stand or fall together; ``size`` is that of their text, in bytes.
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
    """A JSON-lines log, closed at the end."""
    log = JsonlLog(path)
    try:
        yield log
    finally:
        await log.close()


async def append(
    log: EventLog, count: int = 1, *, size: int = 0, timeout: float = 5
) -> list[bytes]:
    """Lock the log and append so many lines at once."""
    async with log.exclusive(timeout) as appender:
        lines, head = some_lines(count, appender.head, size=size)
        await appender.append(lines, head)
    return lines


async def read_all(log: EventLog, after: int = 0, upto: int | None = None) -> list[bytes]:
    """All lines of a read."""
    return [line async for run in log.read(after, upto) for line in run]


async def recover(log: EventLog) -> Head:
    """Lock the log, which recovers it, and tell where it ends."""
    async with log.exclusive(5) as appender:
        return appender.head


def mark_of(path: Path) -> Path:
    """Where the mark of a log lies."""
    return path.with_name(path.name + ".mark")


def publish(path: Path, lines: Sequence[bytes], head: Head) -> None:
    """Lay a mark that calls these lines published."""
    mark = CommitIndex(mark_of(path))
    mark.publish(sum(map(len, lines)) + len(lines), head)
    mark.close()


def file_bytes(lines: Sequence[bytes]) -> bytes:
    """Lines as they stand in a file."""
    return b"".join(line + b"\n" for line in lines)


def quarantined_tails(path: Path) -> list[bytes]:
    """What was cut off, oldest first."""
    return [file.read_bytes() for file in sorted((path.parent / "quarantine").glob("*"))]
