"""Progress of followers in memory, for a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from eventapi.followers.port import Lease, Parked, Progress
from events.errors import LeaseLost


class MemoryFollowers:
    """Progress and leases of one process; every opening of a test shares one object."""

    def __init__(self) -> None:
        self._progress: dict[str, Progress] = {}
        self._parked: dict[str, dict[tuple[int, str], Parked]] = {}
        self._holders: dict[str, _MemoryLease] = {}

    async def acquire(self, name: str) -> Lease | None:
        if name in self._holders:
            return None
        lease = self._holders[name] = _MemoryLease(self, name)
        return lease

    async def read(self, name: str) -> Progress | None:
        return self._progress.get(name)

    async def remove(self, name: str) -> None:
        self._progress.pop(name, None)
        self._parked.pop(name, None)
        if (lease := self._holders.pop(name, None)) is not None:
            lease.lost.set()

    async def close(self) -> None:
        for lease in [*self._holders.values()]:
            await lease.release()


class _MemoryLease:
    def __init__(self, store: MemoryFollowers, name: str) -> None:
        self._store = store
        self._name = name
        self.lost = asyncio.Event()

    async def read(self) -> Progress | None:
        return await self._store.read(self._name)

    async def store(self, progress: Progress) -> None:
        self.check()
        self._store._progress[self._name] = progress

    async def parked(self) -> Sequence[Parked]:
        return [*self._store._parked.get(self._name, {}).values()]

    async def park(self, parked: Parked) -> None:
        self.check()
        self._store._parked.setdefault(self._name, {})[parked.key] = parked

    async def unpark(self, parked: Parked) -> None:
        self.check()
        self._store._parked.get(self._name, {}).pop(parked.key, None)

    def check(self) -> None:
        if self.lost.is_set():
            raise LeaseLost(f"the follower {self._name} has another holder")

    async def keep(self) -> None:
        await self.lost.wait()

    async def release(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            del self._store._holders[self._name]
