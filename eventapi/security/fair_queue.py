"""Fair turns at a few threads: a flood of one caller delays that caller, not the others.

Callers wait in a queue each. A free thread takes the caller with the fewest running jobs, of those the
one whose kind has the fewest, of those the one that has waited longest since its last turn. A part of
the waiting room is kept for logins.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final, Literal

import msgspec

from events.errors import Overloaded, ShareUsedUp

MAX_WAITING_CHANGES: Final = 4
"""Of one user: who changes a password has no use for more."""


class Caller(msgspec.Struct, frozen=True):
    """Whose job it is: a user who makes changes, or an address that logs in or registers.

    Changes of one user run one at a time.
    """

    kind: Literal["login", "change", "registration"]
    key: str


class FairQueue:
    """Turns at ``places``; ``room`` callers may wait. Not for use by several threads."""

    def __init__(self, places: int, room: int) -> None:
        self._free_slots = places
        self._capacity = room
        self._running: Counter[Caller] = Counter()
        self._waiting: dict[Caller, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many callers have a turn or wait for one."""
        return self._running.total() + sum(map(len, self._waiting.values()))

    async def acquire(self, caller: Caller) -> None:
        """Wait for a turn, which `release` ends; raises `ShareUsedUp` and `Overloaded`."""
        if self._free_slots and self._may_run(
            caller
        ):  # Or somebody who waits would have it already.
            self._start(caller)
            return
        self._check_capacity(caller)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove_waiter(caller, turn)
            else:
                self.release(caller)
            raise

    def release(self, caller: Caller) -> None:
        """End a turn, and give the place to the next caller."""
        self._free_slots += 1
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        while self._free_slots and (following := self._next_caller()) is not None:
            waiting = self._waiting.pop(following)
            turn = waiting.popleft()
            if waiting:
                self._waiting[following] = waiting  # Behind all the others.
            if not turn.cancelled():  # Its caller has gone, and is about to leave.
                self._start(following)
                turn.set_result(None)

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

    def _remove_waiter(self, caller: Caller, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(caller, deque())
        if turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[caller]

    def _check_capacity(self, caller: Caller) -> None:
        waiting = Counter({other: len(turns) for other, turns in self._waiting.items()})
        others = sum(turns for other, turns in waiting.items() if other.kind != "login")
        own = MAX_WAITING_CHANGES if caller.kind == "change" else self._capacity // 2
        if waiting[caller] >= own:
            raise ShareUsedUp("too many passwords of this caller are being checked")
        if waiting.total() >= self._capacity or (
            caller.kind != "login" and others >= self._capacity // 2
        ):
            raise Overloaded("too many passwords are being checked")
