"""The fair queue: a flood of one caller delays that caller alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from eventapi.security.fair_queue import MAX_WAITING_CHANGES, Caller, FairQueue
from events.errors import Overloaded, ShareUsedUp

CAPACITY = 16


def login(number: int) -> Caller:
    return Caller("login", str(number))


def change(number: int) -> Caller:
    return Caller("change", str(number))


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class Jobs:
    """Jobs in a queue, and the order in which they got a slot."""

    def __init__(self, slots: int = 2) -> None:
        self.queue = FairQueue(slots, CAPACITY)
        self.served: list[Caller] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, *callers: Caller) -> None:
        for caller in callers:
            self.tasks.append(asyncio.create_task(self._wait(caller)))
        await settle()

    async def _wait(self, caller: Caller) -> None:
        await self.queue.acquire(caller)
        self.served.append(caller)

    async def refusals(self) -> Counter[type[BaseException]]:
        await settle()
        ended = [task.exception() for task in self.tasks if task.done() and not task.cancelled()]
        return Counter(type(error) for error in ended if error is not None)


async def test_any_caller_gets_a_free_slot_at_once() -> None:
    jobs = Jobs(slots=3)
    await jobs.add(login(1), login(1), change(1))
    assert jobs.served == [login(1), login(1), change(1)]


async def test_changes_of_one_user_run_one_at_a_time_and_few_wait() -> None:
    jobs = Jobs()
    await jobs.add(*[change(1)] * 90, login(1))
    assert jobs.served == [change(1), login(1)]
    assert await jobs.refusals() == {ShareUsedUp: 89 - MAX_WAITING_CHANGES}
    for _ in range(MAX_WAITING_CHANGES):
        jobs.queue.release(change(1))
    await settle()
    assert jobs.served[2:] == [change(1)] * MAX_WAITING_CHANGES


async def test_callers_alternate_although_one_has_many_jobs() -> None:
    jobs = Jobs()
    await jobs.add(*[login(1)] * 8, login(2), login(3))
    assert jobs.served == [login(1)] * 2
    for number in range(3):
        jobs.queue.release(jobs.served[number])
        await settle()
    assert set(jobs.served[2:]) == {login(1), login(2), login(3)}


async def test_logins_get_a_slot_beside_changes_of_many_users() -> None:
    jobs = Jobs()
    await jobs.add(*map(change, range(8)), login(1))
    jobs.queue.release(change(0))
    await settle()
    assert jobs.served == [change(0), change(1), login(1)]


async def test_half_of_the_capacity_is_reserved_for_logins() -> None:
    jobs = Jobs()
    others = [Caller("registration", str(n)) for n in range(5)] + [change(n) for n in range(50)]
    await jobs.add(*others)
    assert await jobs.refusals() == {Overloaded: 55 - 2 - CAPACITY // 2}
    await jobs.add(*map(login, range(CAPACITY // 2 + 1)))
    assert await jobs.refusals() == {Overloaded: 55 - 2 - CAPACITY // 2 + 1}


async def test_logins_of_one_account_take_half_of_the_capacity_at_most() -> None:
    jobs = Jobs()
    await jobs.add(*[login(1)] * 50)
    assert await jobs.refusals() == {ShareUsedUp: 50 - 2 - CAPACITY // 2}


@pytest.mark.parametrize("seed", range(20))
async def test_all_slots_are_free_after_any_sequence_of_jobs_and_cancellations(seed: int) -> None:
    chance = random.Random(seed)
    queue = FairQueue(3, CAPACITY)
    running = Counter[Caller]()

    async def work(caller: Caller) -> None:
        await queue.acquire(caller)
        running[caller] += 1
        assert running.total() <= 3
        assert caller.kind != "change" or running[caller] == 1
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            running[caller] -= 1
            queue.release(caller)

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
    assert len(queue) == 0
    for number in range(3):
        await asyncio.wait_for(queue.acquire(login(number)), 1)
