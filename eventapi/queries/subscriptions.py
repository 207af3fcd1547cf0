"""Following the log: who waits for its next event is told, whichever process wrote it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import count
from operator import attrgetter
from typing import Final

import msgspec

from events.codec import parse
from events.log.port import EventLog

_POLL_SECONDS: Final = 0.02
"""Other processes tell of their events in shared memory, at which somebody has to look."""

_ENVELOPE: Final = re.compile(
    rb'\{"specversion":"1\.0","id":"\d+","source":"[^"]*","type":("[^"]*"),"subject":("[^"]*"),'
    rb'"time":"[^"]*","actor":("(?:[^"\\]|\\.)*")'
)
"""The members of a line stand in one order, so these are found without decoding it.

A line that is not so, which `log verify` would not call whole, is decoded.
"""


class EventFilter(msgspec.Struct, frozen=True):
    """Which events are wanted, by their members in JSON; ``None`` is any."""

    type: bytes | None = None
    subject: bytes | None = None
    actor: bytes | None = None

    @classmethod
    def of(cls, *wanted: str | None) -> EventFilter:
        """From type, subject and actor in clear."""
        return cls(*(None if one is None else msgspec.json.encode(one) for one in wanted))

    @property
    def is_all(self) -> bool:
        """Whether everything is wanted."""
        return self == _ALL

    def matches(self, line: bytes) -> bool:
        """Whether a line is wanted."""
        found = _ENVELOPE.match(line)
        if found is None:
            there = EventFilter.of(*attrgetter("type", "subject", "actor")(parse(line)))
            return self.matches_members(there.type, there.subject, there.actor)
        return self.matches_members(found[1], found[2], found[3])

    def matches_members(
        self, kind: bytes | None, subject: bytes | None, actor: bytes | None
    ) -> bool:
        """Whether a line with these members, in JSON, is wanted."""
        return (
            self.type in {None, kind}
            and self.subject in {None, subject}
            and self.actor in {None, actor}
        )


_ALL = EventFilter()


def members_of(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Type, subject and actor of a whole line, as they stand in it."""
    found = _ENVELOPE.match(line)
    assert found is not None  # noqa: S101 - every published line is one
    return found[1], found[2], found[3]


def kind_of(line: bytes) -> str:
    """The type of the event on a whole line."""
    found = _ENVELOPE.match(line)
    kind: str = parse(line).type if found is None else msgspec.json.decode(found[1])
    return kind


def subject_of(line: bytes) -> str:
    """What the event on a whole line is about."""
    found = _ENVELOPE.match(line)
    subject: str = parse(line).subject if found is None else msgspec.json.decode(found[2])
    return subject


class LogWatcher:
    """The lines of a log, from any position on, and word of new ones."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._moved = asyncio.Event()
        self._waiting = 0
        self._watching: asyncio.Task[None] | None = None
        self.closed = False
        self.followers: Counter[int] = Counter()
        """How many streams whoever has open at this process, by the number of the user."""

    @property
    def position(self) -> int:
        """The last published position."""
        return self._log.position

    def close(self) -> None:
        """Wake all who wait: nobody is to follow any more."""
        self.closed = True
        self._moved.set()

    async def wait_beyond(self, position: int, seconds: float) -> bool:
        """Whether the log goes beyond a position within so many seconds; at once if it is closed."""
        seen = self._log.position
        if seen > position or self.closed:
            return seen > position
        self._waiting += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(seen), name="feed")
        try:
            with suppress(TimeoutError):
                # Not `wait_for`, which up to Python 3.11 may lose a cancellation.
                async with asyncio.timeout(seconds):
                    await self._moved.wait()
        finally:
            self._waiting -= 1
        return self._log.position > position

    async def _watch(self, seen: int) -> None:
        """Tell all who wait of what comes after they looked, be it before this task's first turn."""
        while self._waiting:
            await asyncio.sleep(_POLL_SECONDS)
            if self.closed:  # And so is the log, perhaps.
                return
            if self._log.position != seen:
                seen = self._log.position
                moved, self._moved = self._moved, asyncio.Event()
                moved.set()

    async def lines(
        self, after: int, upto: int, wanted: EventFilter = _ALL
    ) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Wanted lines behind a position with theirs, in runs; a run may be empty."""
        position = after
        async for run in self._log.read(after, upto):
            numbered = zip(count(position + 1), run, strict=False)
            position += len(run)
            if wanted.is_all:
                yield list(numbered)
            else:
                yield [(at, line) for at, line in numbered if wanted.matches(line)]
