"""Fairness of the log's lock: writers take turns, and a start waits long enough."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

from eventapi.bootstrap.storage import SYSTEM
from eventapi.journal.config import JournalConfig
from eventapi.journal.journal import Journal
from eventapi.testing.items import ITEMS
from events.vault.memory import MemoryVault
from tests.events.log_helpers import append, open_file_log

WRITERS = 3
WRITES = 150
MAX_WRITES_WAITED = 60
"""The first writer to try gets a free lock, so a wait may take some rounds."""


async def test_busy_writer_does_not_starve_others(tmp_path: Path) -> None:
    """Without turns, the writer that released the lock would reacquire it first."""
    order = await _order_of_writers(tmp_path / "events.jsonl")
    for writer in range(WRITERS):
        turns = [0, *(at for at, other in enumerate(order) if other == writer), len(order)]
        longest = max(later - turn for turn, later in pairwise(turns))
        assert longest < MAX_WRITES_WAITED, f"{writer} waited for {longest} others: {order}"


async def _order_of_writers(path: Path) -> list[int]:
    """The writers in the order of their writes, when all write as often as possible."""
    order: list[int] = []
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(open_file_log(path)) for _ in range(WRITERS)]

        async def write_repeatedly(writer: int) -> None:
            while len(order) < WRITES:
                await append(logs[writer])
                order.append(writer)

        await asyncio.gather(*map(write_repeatedly, range(WRITERS)))
    return order


async def test_start_waits_longer_for_the_lock_than_a_write(tmp_path: Path) -> None:
    """A disk that stalls while a worker is replaced must not stop the whole server."""
    path = tmp_path / "events.jsonl"
    limits = JournalConfig(lock_timeout=0.05, start_timeout=10)
    async with open_file_log(path) as log, open_file_log(path) as other:
        journal = Journal(log, MemoryVault(), ITEMS, SYSTEM, limits)
        async with other.exclusive(1):
            starting = asyncio.create_task(journal.start())
            await asyncio.sleep(4 * limits.lock_timeout)
            assert not starting.done()
        await starting
        await journal.close()
