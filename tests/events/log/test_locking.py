"""The lock within one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from events.errors import LogUnavailable
from events.log.locking import Mutex

TIMEOUT = 30.0


async def hold(mutex: Mutex, held: list[int], number: int, timeout: float = TIMEOUT) -> None:
    async with mutex.held(timeout):
        held.append(number)
        await asyncio.sleep(0)


async def run_others() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_tasks_hold_it_in_the_order_of_their_calls() -> None:
    mutex, held = Mutex(), list[int]()
    await asyncio.gather(*(hold(mutex, held, number) for number in range(10)))
    assert held == list(range(10))


async def test_a_task_that_waits_too_long_is_refused() -> None:
    mutex, held = Mutex(), list[int]()
    async with mutex.held(TIMEOUT):
        with pytest.raises(LogUnavailable, match="was not free within 0"):
            await hold(mutex, held, 1, timeout=0.0)
    assert held == []
    await hold(mutex, held, 2)
    assert held == [2]


async def test_a_free_one_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), list[object]()

    def call_at(*arguments: Any, **_: Any) -> asyncio.TimerHandle:
        timers.append(arguments)
        return real(*arguments)

    real = loop.call_at
    monkeypatch.setattr(loop, "call_at", call_at)
    mutex, held = Mutex(), list[int]()
    await hold(mutex, held, 1)
    assert timers == []
    async with mutex.held(TIMEOUT):
        waiting = asyncio.create_task(hold(mutex, held, 2))
        await run_others()
        assert len(timers) == 1, "control: a task that waits has one"
    await waiting
    assert held == [1, 2]


async def test_a_task_before_its_turn_has_a_deadline_too() -> None:
    """Between a release and the next holder, the lock is free, but not for others."""
    mutex, end, order = Mutex(), asyncio.Event(), list[str]()

    async def next_holder() -> None:
        async with mutex.held(TIMEOUT):
            order.append("next")
            await end.wait()

    async with mutex.held(TIMEOUT):
        waiting = asyncio.create_task(next_holder())
        await run_others()
    with pytest.raises(LogUnavailable):  # The other task has not run since the release.
        async with mutex.held(0.0):
            order.append("overtaken")
    await run_others()
    assert order == ["next"]
    end.set()
    await waiting


async def test_a_cancelled_task_leaves_its_place() -> None:
    mutex, held = Mutex(), list[int]()
    async with mutex.held(TIMEOUT):
        tasks = [asyncio.create_task(hold(mutex, held, number)) for number in range(3)]
        await run_others()
        tasks[1].cancel()
        await run_others()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert held == [0, 2]
    assert tasks[1].cancelled()
    await hold(mutex, held, 3)
    assert held == [0, 2, 3]
