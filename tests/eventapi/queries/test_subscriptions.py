"""Waiters wake up at the next event of a log."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eventapi.queries.subscriptions import LogWatcher
from events.log.file.log import JsonlLog
from events.log.memory import MemoryLog
from events.log.port import Head


async def test_event_right_after_the_comparison_wakes_the_waiter() -> None:
    """Another process may write before the first run of the polling task."""

    async def waited() -> bool:
        log = MemoryLog()
        feed = LogWatcher(log)
        waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
        await asyncio.sleep(0)  # It has looked, and waits.
        log.head = Head(1)
        return await asyncio.wait_for(waiting, 10)

    assert await waited()


async def test_close_wakes_the_waiters() -> None:
    async def waited() -> bool:
        feed = LogWatcher(MemoryLog())
        waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
        await asyncio.sleep(0)
        feed.close()
        return await asyncio.wait_for(waiting, 10)

    assert not await waited()


async def test_closed_watcher_does_not_poll_the_log(tmp_path: Path) -> None:
    """It may be closed by then."""
    log = JsonlLog(tmp_path / "events.jsonl")
    feed = LogWatcher(log)
    waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # The polling task sleeps.
    feed.close()
    await waiting
    (watching,) = (task for task in asyncio.all_tasks() if task.get_name() == "feed")
    await log.close()
    await watching
