"""Turns: a flood of one caller delays that caller alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from eventapi.security.fair_queue import MAX_WAITING_CHANGES, Caller, FairQueue
from events.errors import Overloaded, ShareUsedUp

ROOM = 16


def login(number: int) -> Caller:
    return Caller("login", str(number))


def change(number: int) -> Caller:
    return Caller("change", str(number))


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class Room:
    """Callers with turns, or waiting for one, in the order in which they got theirs."""

    def __init__(self, places: int = 2) -> None:
        self.turns = FairQueue(places, ROOM)
        self.served: list[Caller] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *callers: Caller) -> None:
        for caller in callers:
            self.tasks.append(asyncio.create_task(self._served(caller)))
        await settle()

    async def _served(self, caller: Caller) -> None:
        await self.turns.acquire(caller)
        self.served.append(caller)

    async def refusals(self) -> Counter[type[BaseException]]:
        await settle()
        ended = [task.exception() for task in self.tasks if task.done() and not task.cancelled()]
        return Counter(type(error) for error in ended if error is not None)


def test_a_free_place_is_taken_at_once_by_any_caller() -> None:
    async def check() -> None:
        room = Room(places=3)
        await room.come(login(1), login(1), change(1))
        assert room.served == [login(1), login(1), change(1)]

    asyncio.run(check())


def test_changes_of_one_user_run_one_at_a_time_and_few_wait() -> None:
    async def check() -> None:
        room = Room()
        await room.come(*[change(1)] * 90, login(1))
        assert room.served == [change(1), login(1)]
        assert await room.refusals() == {ShareUsedUp: 89 - MAX_WAITING_CHANGES}
        for _ in range(MAX_WAITING_CHANGES):
            room.turns.release(change(1))
        await settle()
        assert room.served[2:] == [change(1)] * MAX_WAITING_CHANGES

    asyncio.run(check())


def test_callers_take_turns_however_many_jobs_one_of_them_has() -> None:
    async def check() -> None:
        room = Room()
        await room.come(*[login(1)] * 8, login(2), login(3))
        assert room.served == [login(1)] * 2
        for number in range(3):
            room.turns.release(room.served[number])
            await settle()
        assert set(room.served[2:]) == {login(1), login(2), login(3)}

    asyncio.run(check())


def test_logins_get_a_place_beside_changes_of_many_users() -> None:
    async def check() -> None:
        room = Room()
        await room.come(*map(change, range(8)), login(1))
        room.turns.release(change(0))
        await settle()
        assert room.served == [change(0), change(1), login(1)]

    asyncio.run(check())


def test_half_of_the_room_is_kept_for_logins() -> None:
    async def check() -> None:
        room = Room()
        others = [Caller("registration", str(n)) for n in range(5)] + [change(n) for n in range(50)]
        await room.come(*others)
        assert await room.refusals() == {Overloaded: 55 - 2 - ROOM // 2}
        await room.come(*map(login, range(ROOM // 2 + 1)))
        assert await room.refusals() == {Overloaded: 55 - 2 - ROOM // 2 + 1}

    asyncio.run(check())


def test_logins_of_one_account_take_half_of_the_room_at_most() -> None:
    async def check() -> None:
        room = Room()
        await room.come(*[login(1)] * 50)
        assert await room.refusals() == {ShareUsedUp: 50 - 2 - ROOM // 2}

    asyncio.run(check())


@pytest.mark.parametrize("seed", range(20))
def test_after_any_coming_and_going_every_place_is_free(seed: int) -> None:
    async def check() -> None:
        chance = random.Random(seed)
        turns = FairQueue(3, ROOM)
        running = Counter[Caller]()

        async def work(caller: Caller) -> None:
            await turns.acquire(caller)
            running[caller] += 1
            assert running.total() <= 3
            assert caller.kind != "change" or running[caller] == 1
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                running[caller] -= 1
                turns.release(caller)

        tasks = []
        for _ in range(200):
            kind = chance.choice([login, change])
            tasks.append(asyncio.create_task(work(kind(chance.randrange(4)))))
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
            if chance.random() < 0.5:
                await asyncio.sleep(0)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        unforeseen = [one for one in ended if isinstance(one, AssertionError)]
        assert unforeseen == []
        assert len(turns) == 0
        for number in range(3):
            await asyncio.wait_for(turns.acquire(login(number)), 1)

    asyncio.run(check())
