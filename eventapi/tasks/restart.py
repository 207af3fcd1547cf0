"""Run background tasks as long as the server runs; restart them after an error.

A task handles the errors of `events.errors` itself. An unforeseen error, such as one of a driver
that is mapped nowhere, must not end the task silently: it is logged, and the task is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from events.io.tasks import cancel_and_wait
from events.messages.server_log import TASK_FAILED

logger = logging.getLogger("eventapi.tasks")

RESTART_DELAY_SECONDS: Final = 1.0
"""The pause before a failed task is restarted."""


@asynccontextmanager
async def restart_on_error(
    work: Callable[[], Coroutine[Any, Any, None]], name: str
) -> AsyncIterator[None]:
    """Run a task inside the context; restart it after any error until it returns."""
    task = asyncio.create_task(_restart(work, name), name=name)
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def _restart(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    while True:
        try:
            await work()
        except (Exception, asyncio.CancelledError) as error:
            # A library may have cancelled what the task awaits, and not the task itself.
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            logger.exception(TASK_FAILED.fill(name=name))
            await asyncio.sleep(RESTART_DELAY_SECONDS)
        else:
            return


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
