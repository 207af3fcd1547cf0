"""The log's lock goes round: nobody keeps it, and nobody gives up too soon."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

from eventapi.bootstrap.storage import SYSTEM
from eventapi.journal.journal import Journal, JournalConfig
from events.vault.memory import MemoryVault
from tests.events.log_helpers import append, open_file_log

WRITERS = 3
WRITES = 150
LONGEST = 60
"""Whoever looks first when the turn is free gets it, so that a wait may take some rounds."""


def test_a_busy_writer_does_not_keep_others_waiting(tmp_path: Path) -> None:
    """Without turns, who has just let go of the lock has it again before anybody else looks."""
    order = asyncio.run(_order(tmp_path / "events.jsonl"))
    for writer in range(WRITERS):
        turns = [0, *(at for at, other in enumerate(order) if other == writer), len(order)]
        longest = max(later - turn for turn, later in pairwise(turns))
        assert longest < LONGEST, f"{writer} waited for {longest} others: {order}"


async def _order(path: Path) -> list[int]:
    """Who wrote, in order, when all write as often as they can."""
    order: list[int] = []
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(open_file_log(path)) for _ in range(WRITERS)]

        async def write_on(writer: int) -> None:
            while len(order) < WRITES:
                await append(logs[writer])
                order.append(writer)

        await asyncio.gather(*map(write_on, range(WRITERS)))
    return order


def test_a_start_waits_longer_for_the_lock_than_a_write(tmp_path: Path) -> None:
    """A disk that stalls while a worker is replaced must not cost the whole server."""
    asyncio.run(_start_while_locked(tmp_path / "events.jsonl"))


async def _start_while_locked(path: Path) -> None:
    limits = JournalConfig(lock_timeout=0.05, start_timeout=10)
    async with open_file_log(path) as log, open_file_log(path) as other:
        journal = Journal(log, MemoryVault(), SYSTEM, limits)
        async with other.exclusive(1):
            starting = asyncio.create_task(journal.start())
            await asyncio.sleep(4 * limits.lock_timeout)
            assert not starting.done()
        await starting
        await journal.close()
