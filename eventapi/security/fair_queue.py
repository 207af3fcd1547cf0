"""Fair queue for a few threads: a flood of one caller delays that caller only.

Each caller has a queue of its own. A free slot goes to the caller with the fewest running jobs; among
equals to the one whose kind has the fewest; among equals to the one that has waited longest since
its last job. Half of the capacity is reserved for logins.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final, Literal

import msgspec

from events.errors import Overloaded, ShareUsedUp

MAX_WAITING_CHANGES: Final = 4
"""Waiting jobs of one user who changes a password; more are of no use."""


class Caller(msgspec.Struct, frozen=True):
    """The owner of a job: a user with changes, or an address with logins.

    Changes of one user run one at a time.
    """

    kind: Literal["login", "change", "registration"]
    key: str


class FairQueue:
    """Queue for ``slots`` parallel jobs; ``capacity`` more may wait. Not thread-safe."""

    def __init__(self, slots: int, capacity: int) -> None:
        self._free_slots = slots
        self._capacity = capacity
        self._running: Counter[Caller] = Counter()
        self._waiting: dict[Caller, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """The number of jobs that run or wait."""
        return self._running.total() + sum(map(len, self._waiting.values()))

    async def acquire(self, caller: Caller) -> None:
        """Wait for a slot, which `release` returns; raises `ShareUsedUp` and `Overloaded`."""
        if self._free_slots and self._may_run(caller):  # Else a waiting caller would have the slot.
            self._start(caller)
            return
        self._check_capacity(caller)
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.cancelled():
                self._remove_waiter(caller, slot)
            else:
                self.release(caller)
            raise

    def release(self, caller: Caller) -> None:
        """Return a slot, and give it to the next caller."""
        self._free_slots += 1
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        while self._free_slots and (following := self._next_caller()) is not None:
            waiting = self._waiting.pop(following)
            slot = waiting.popleft()
            if waiting:
                self._waiting[following] = waiting  # Moves it to the end.
            if not slot.cancelled():  # Else its caller is about to remove it.
                self._start(following)
                slot.set_result(None)

    def _start(self, caller: Caller) -> None:
        self._free_slots -= 1
        self._running[caller] += 1

    def _may_run(self, caller: Caller) -> bool:
        return caller.kind != "change" or not self._running[caller]

    def _next_caller(self) -> Caller | None:
        kinds: Counter[str] = Counter()
        for caller, jobs in self._running.items():
            kinds[caller.kind] += jobs
        return min(
            filter(self._may_run, self._waiting),
            key=lambda caller: (self._running[caller], kinds[caller.kind]),
            default=None,
        )

    def _remove_waiter(self, caller: Caller, slot: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(caller, deque())
        if slot in waiting:
            waiting.remove(slot)
            if not waiting:
                del self._waiting[caller]

    def _check_capacity(self, caller: Caller) -> None:
        waiting = Counter({other: len(slots) for other, slots in self._waiting.items()})
        others = sum(jobs for other, jobs in waiting.items() if other.kind != "login")
        own = MAX_WAITING_CHANGES if caller.kind == "change" else self._capacity // 2
        if waiting[caller] >= own:
            raise ShareUsedUp("too many passwords of this caller are being checked")
        if waiting.total() >= self._capacity or (
            caller.kind != "login" and others >= self._capacity // 2
        ):
            raise Overloaded("too many passwords are being checked")
