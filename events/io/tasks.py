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


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end.

    The task is cancelled again and again, because a library may swallow a cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_RECANCEL_SECONDS)
