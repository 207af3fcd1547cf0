"""Busy writers take turns: none of them keeps another waiting."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

from tests.events.stories import append, opened

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
        logs = [await stack.enter_async_context(opened(path)) for _ in range(WRITERS)]

        async def write_on(writer: int) -> None:
            while len(order) < WRITES:
                await append(logs[writer])
                order.append(writer)

        await asyncio.gather(*map(write_on, range(WRITERS)))
    return order
