"""Logs in memory that behave as a test needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from events.log.memory import MemoryLog
from events.log.port import Head


class FailingLog(MemoryLog):
    """A log whose appends raise ``failure`` while one is set."""

    failure: Exception | None = None

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        if self.failure is not None:
            raise self.failure
        await super().append(lines, head, revokes=revokes)


class SlowLog(MemoryLog):
    """A log that yields one line at a time, like a long log that is read slowly."""

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            for line in lines:
                yield [line]
