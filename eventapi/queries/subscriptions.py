"""Follow the log: wait for new lines of any process, and read matching ones."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from itertools import count
from operator import attrgetter
from typing import Final

import msgspec

from events.codec import parse
from events.log.port import EventLog
from events.log.search import read_backwards

_POLL_SECONDS: Final = 0.02
"""Other processes publish their events in shared memory, which has to be polled."""

_ENVELOPE: Final = re.compile(
    rb'\{"specversion":"1\.0","id":"\d+","source":"[^"]*","type":("[^"]*"),"subject":("[^"]*"),'
    rb'"time":"[^"]*","actor":("(?:[^"\\]|\\.)*")'
)
"""Finds three members without decoding the line, because the order of members is fixed.

A line in another order is decoded; `log verify` reports it as damaged.
"""


class EventFilter(msgspec.Struct, frozen=True):
    """Selects events by their members in JSON; ``None`` matches any."""

    type: bytes | None = None
    subject: bytes | None = None
    actor: bytes | None = None

    @classmethod
    def of(cls, *wanted: str | None) -> EventFilter:
        """Make a filter from type, subject and actor as plain texts."""
        return cls(*(None if one is None else msgspec.json.encode(one) for one in wanted))

    @property
    def is_all(self) -> bool:
        """Whether every event matches."""
        return self == _ALL

    def matches(self, line: bytes) -> bool:
        """Whether a line matches."""
        found = _ENVELOPE.match(line)
        if found is None:
            there = EventFilter.of(*attrgetter("type", "subject", "actor")(parse(line)))
            return self.matches_members(there.type, there.subject, there.actor)
        return self.matches_members(found[1], found[2], found[3])

    def select(self, numbered: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """The lines that match, each with its position."""
        if self.is_all:
            return list(numbered)
        # Most lines do not have these bytes anywhere, which is found out faster than the members.
        rarest = self.subject or self.actor or self.type or b""
        return [(at, line) for at, line in numbered if rarest in line and self.matches(line)]

    def matches_members(
        self, kind: bytes | None, subject: bytes | None, actor: bytes | None
    ) -> bool:
        """Whether a line with these members, in JSON, matches."""
        return (
            self.type in {None, kind}
            and self.subject in {None, subject}
            and self.actor in {None, actor}
        )


_ALL = EventFilter()


def members_of(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Type, subject and actor of an undamaged line, in JSON."""
    found = _ENVELOPE.match(line)
    assert found is not None  # noqa: S101 - every published line is one
    return found[1], found[2], found[3]


def kind_of(line: bytes) -> str:
    """The type of the event on an undamaged line."""
    found = _ENVELOPE.match(line)
    kind: str = parse(line).type if found is None else msgspec.json.decode(found[1])
    return kind


def subject_of(line: bytes) -> str:
    """The subject of the event on an undamaged line."""
    found = _ENVELOPE.match(line)
    subject: str = parse(line).subject if found is None else msgspec.json.decode(found[2])
    return subject


class LogWatcher:
    """Reads the lines of a log from any position, and waits for new ones."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._advanced = asyncio.Event()
        self._waiting = 0
        self._watch_task: asyncio.Task[None] | None = None
        self.closed = False
        self.followers: Counter[int] = Counter()
        """The number of open streams at this process, by user number."""

    @property
    def position(self) -> int:
        """The last published position."""
        return self._log.position

    def close(self) -> None:
        """Wake all waiters, because streams end."""
        self.closed = True
        self._advanced.set()

    async def wait_beyond(self, position: int, seconds: float) -> bool:
        """Wait until the log goes beyond a position; return ``False`` on timeout.

        Returns at once if this object is closed.
        """
        seen = self._log.position
        if seen > position or self.closed:
            return seen > position
        self._waiting += 1
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.create_task(self._watch(seen), name="feed")
        try:
            with suppress(TimeoutError):
                # Not `wait_for`, which up to Python 3.11 may lose a cancellation.
                async with asyncio.timeout(seconds):
                    await self._advanced.wait()
        finally:
            self._waiting -= 1
        return self._log.position > position

    async def _watch(self, seen: int) -> None:
        """Wake all waiters when the log goes beyond ``seen``.

        ``seen`` is the position that they compared. The log may go beyond it even before the first
        run of this task.
        """
        while self._waiting:
            await asyncio.sleep(_POLL_SECONDS)
            if self.closed:  # The log may be closed already.
                return
            if self._log.position != seen:
                seen = self._log.position
                moved, self._advanced = self._advanced, asyncio.Event()
                moved.set()

    async def lines(
        self, after: int, upto: int, wanted: EventFilter = _ALL, *, descending: bool = False
    ) -> AsyncGenerator[Sequence[tuple[int, bytes]], None]:
        """The lines after a position that match, each with its position, in runs.

        A run may be empty. With ``descending`` they are newest first.
        """
        if descending:
            async for lines in read_backwards(self._log, after, upto):
                yield wanted.select(lines)
            return
        position = after
        async for run in self._log.read(after, upto):
            numbered = zip(count(position + 1), run, strict=False)
            position += len(run)
            yield wanted.select(numbered)
