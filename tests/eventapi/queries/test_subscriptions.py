"""Who waits for the next event of a log is told of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eventapi.queries.subscriptions import LogWatcher
from events.log.file.log import JsonlLog
from events.log.memory import MemoryLog
from events.log.port import Head


def test_what_comes_right_after_the_look_is_told_too() -> None:
    """Another process may write before whoever watches for all has had a first turn."""

    async def waited() -> bool:
        log = MemoryLog()
        feed = LogWatcher(log)
        waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
        await asyncio.sleep(0)  # It has looked, and waits.
        log.head = Head(1)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(waited())


def test_who_waits_is_told_when_nobody_is_to_follow_any_more() -> None:
    async def waited() -> bool:
        feed = LogWatcher(MemoryLog())
        waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
        await asyncio.sleep(0)
        feed.close()
        return await asyncio.wait_for(waiting, 10)

    assert not asyncio.run(waited())


def test_a_log_is_not_looked_at_once_nobody_is_to_follow_any_more(tmp_path: Path) -> None:
    """It may be closed by then."""

    async def run() -> None:
        log = JsonlLog(tmp_path / "events.jsonl")
        feed = LogWatcher(log)
        waiting = asyncio.create_task(feed.wait_beyond(0, 3_600))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # Whoever watches for all sleeps.
        feed.close()
        await waiting
        (watching,) = (task for task in asyncio.all_tasks() if task.get_name() == "feed")
        await log.close()
        await watching

    asyncio.run(run())
