"""Work in a thread, which cannot be cancelled as a task can."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any


async def ended(work: asyncio.Future[Any]) -> None:
    """Wait for work in a thread to end, whatever it ends in, and however often we are cancelled."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    work.exception()
