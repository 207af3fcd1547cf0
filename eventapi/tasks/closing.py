"""Background task: close full segments of a log in a file."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from events.errors import EventapiError, LogFenced
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.messages.server_log import SEGMENT_NOT_CLOSED

logger = logging.getLogger("eventapi.tasks")

CHECK_INTERVAL_SECONDS = 5.0
"""The average time between two checks; it varies, so that workers do not all check at once."""

RETRY_SECONDS = 300.0
LOCK_SECONDS: Final = 5.0


async def run_closing(
    log: JsonlLog, segment_bytes: int, on_fence: Callable[[], None] = lambda: None
) -> None:
    """Close each segment once it has ``segment_bytes``, until cancelled.

    Every worker runs this task, and one of them closes. ``on_fence`` is called, as the journal
    does, when nothing may be written before a restart.
    """
    while True:
        await asyncio.sleep(CHECK_INTERVAL_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            await close_segments(log, segment_bytes, LOCK_SECONDS)
        except LogFenced as error:
            logger.critical(error.message)
            on_fence()
            return
        except (EventapiError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            logger.warning(SEGMENT_NOT_CLOSED.fill(path=log.path, reason=reason))
            await asyncio.sleep(RETRY_SECONDS)
