"""The queue of writes that wait for the log's lock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from eventapi.journal.batch import CommandResult, GroupedCommand, IdempotencyKey, PendingWrite
from eventapi.journal.origin import Origin
from events.errors import LogUnavailable, Overloaded


class WriteQueue:
    """Pending writes, oldest first."""

    def __init__(self, most: int) -> None:
        """``most`` is the number of writes that may wait."""
        self._most = most
        self._writes: deque[PendingWrite] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._writes)

    def add(
        self,
        commands: Sequence[GroupedCommand],
        origin: Origin,
        idempotency_key: IdempotencyKey | None,
    ) -> asyncio.Future[list[CommandResult]]:
        """Add a write, and return the future of its results; raises `Overloaded`."""
        if len(self._writes) >= self._most:
            raise Overloaded("too many writes are waiting")
        future = asyncio.get_running_loop().create_future()
        self._writes.append(PendingWrite(commands, origin, future, idempotency_key))
        self._filled.set()
        return future

    def next_batch(self, most: int) -> list[PendingWrite]:
        """Remove the next writes, of at most so many commands, but at least one."""
        writes: list[PendingWrite] = []
        while self._writes and (not writes or len(self._writes[0].commands) <= most):
            write = self._writes.popleft()
            most -= len(write.commands)
            writes.append(write)
        return writes

    def next_writes(self, count: int) -> list[PendingWrite]:
        """Remove the next ``count`` writes."""
        return [self._writes.popleft() for _ in range(count)]

    def wake(self) -> None:
        """End a `wait`, although there may be no write."""
        self._filled.set()

    async def wait(self, timeout: float | None) -> None:
        """Wait for a write or for `wake`, at most ``timeout`` seconds."""
        self._filled.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), timeout)

    def fail_all(self) -> None:
        """Fail the writes that are left, because the journal has stopped."""
        for write in self._writes:
            write.answer(LogUnavailable("the journal has stopped"))
