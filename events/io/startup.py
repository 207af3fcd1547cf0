"""Report in the server's log what a slow start is waiting for.

All workers of a server wait for the same, so only one of them reports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

logger = logging.getLogger("events.startup")

FIRST_SECONDS: Final = 1.0
"""A shorter wait is not reported."""

REMINDER_SECONDS: Final = 10.0


def disable_reports() -> None:
    """Report nothing in this process, because another one does."""
    logger.disabled = True


async def report_slow_start(
    work: Awaitable[T], report: Callable[[float], None], first: float = FIRST_SECONDS
) -> T:
    """Await ``work``; report the seconds waited after ``first``, then every 10 s."""

    async def remind() -> None:
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(first)
        while True:
            report(asyncio.get_running_loop().time() - begun)
            await asyncio.sleep(REMINDER_SECONDS)

    reminder = asyncio.ensure_future(remind())
    try:
        return await work
    finally:
        reminder.cancel()
        with suppress(asyncio.CancelledError):
            await reminder
