"""Waiting for the end of tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from events.io.tasks import cancel_and_wait


async def _end_slowly(ended: list[str], name: str = "work") -> None:
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(20):  # Each cancellation interrupts one of these.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        ended.append(name)


async def test_a_task_that_swallows_cancellations_is_awaited() -> None:
    ended: list[str] = []
    tasks = [asyncio.create_task(_end_slowly(ended, name)) for name in "ab"]
    await asyncio.sleep(0)
    await cancel_and_wait(*tasks)
    assert sorted(ended) == ["a", "b"]
    await cancel_and_wait(*tasks)


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_caller_that_is_cancelled_still_waits(times: int) -> None:
    """Otherwise the work would outlive the files and connections that it uses."""
    ended: list[str] = []
    work = asyncio.create_task(_end_slowly(ended))
    caller = asyncio.create_task(cancel_and_wait(work))
    for _ in range(times):
        await asyncio.sleep(0.01)
        caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (work.done(), ended) == (True, ["work"])
