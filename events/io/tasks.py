"""Work that goes on: in a thread, which cannot be cancelled, and in a task, which may not hear it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

_AGAIN_SECONDS: Final = 0.1


async def run_in_thread(work: Callable[[], T]) -> T:
    """The result of work in a thread, which has ended when this returns, also if cancelled."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_uncancellable(running)
        raise


async def wait_uncancellable(work: asyncio.Future[Any]) -> None:
    """Wait for work in a thread to end, whatever it ends in, and however often we are cancelled."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    work.exception()


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end.

    A library may lose the word, or take it for a failure of its own: so it is said again.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_SECONDS)
