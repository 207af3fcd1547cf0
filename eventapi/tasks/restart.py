"""Work beside the requests, which goes on for as long as the server does.

Each kind of work knows the errors of the house and what to do about them. What nobody foresaw, such
as an error of a driver that is mapped nowhere, must not end it in silence: that is told, and the
work begins anew.
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

PAUSE_SECONDS: Final = 1.0
"""Before work that failed begins anew."""


@asynccontextmanager
async def restart_on_error(
    work: Callable[[], Coroutine[Any, Any, None]], name: str
) -> AsyncIterator[None]:
    """While within, work goes on until it is done, whatever it raises."""
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
            # A library may have cancelled what the work waited for, and not the work.
            if isinstance(error, asyncio.CancelledError) and _is_to_end():
                raise
            logger.exception(TASK_FAILED.fill(name=name))
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


def _is_to_end() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
