"""Wait for work that ignores cancellation, or outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

_RECANCEL_SECONDS: Final = 0.1


async def run_in_thread(work: Callable[[], T]) -> T:
    """Run work in a thread; return only when it has ended, even if cancelled."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_uncancellable(running)
        raise


async def wait_uncancellable(work: asyncio.Future[Any]) -> None:
    """Wait for work to end, in a result or an error, and ignore every cancellation."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    work.exception()


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for the end of all, even if the caller is cancelled.

    The tasks are cancelled again and again, because a library may swallow a cancellation.
    """
    is_cancelled = False
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=_RECANCEL_SECONDS)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError
