"""Background task: fold projections anew whose code changed since the snapshot."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from eventapi.journal.journal import Journal
from events.errors import EventapiError
from events.messages.server_log import PROJECTION_WAITS

logger = logging.getLogger("eventapi.tasks")

RETRY_SECONDS: Final = 5.0


async def run_read_models(journal: Journal) -> None:
    """Fold the projections that are behind until all are current; then return."""
    while True:
        try:
            await journal.fold_read_models()
        except EventapiError as error:
            logger.warning(PROJECTION_WAITS.fill(reason=error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
