"""Background task: apply events of other processes, even if no request reads.

So the first read after a pause is not slow, and the state of a process that loses the database of
its log is only a moment old.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from events.errors import EventapiError
from events.messages.server_log import NOT_CAUGHT_UP

logger = logging.getLogger("eventapi.tasks")

WAIT_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5


async def run_catch_up(journal: Journal, feed: LogWatcher) -> None:
    """Catch up whenever the log moves, until cancelled or the watcher is closed."""
    position = 0
    while not feed.closed:
        if not await feed.wait_beyond(position, WAIT_SECONDS):
            continue
        try:
            before, position = position, (await journal.state()).position
        except EventapiError as error:
            logger.warning(NOT_CAUGHT_UP.fill(reason=error))
            before = position
        if position == before:  # The log could not be read.
            await asyncio.sleep(RETRY_SECONDS)
