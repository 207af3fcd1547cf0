"""The log in memory: the reference adapter, for tests and as their model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from events.log.locking import Mutex
from events.log.port import Head


class MemoryLog:
    """Lines in a list; durable for as long as the object lives."""

    lost_for: Final = 0.0

    def __init__(self, lines: Sequence[bytes] = (), head: Head | None = None) -> None:
        self._lines = list(lines)
        self._mutex = Mutex()
        self.head = head or Head()

    @property
    def position(self) -> int:
        return self.head.position

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        after = max(after, 0)
        upto = self.position if upto is None else min(upto, self.position)
        if after < upto:
            yield self._lines[after:upto]

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[MemoryLog]:
        async with self._mutex.held(timeout):
            yield self

    def keep_reserve(self) -> None:
        pass

    async def release_reserve(self) -> bool:
        return False

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        self._lines.extend(lines)
        self.head = head

    async def close(self) -> None:
        pass
