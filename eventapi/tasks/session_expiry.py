"""Background task: end each expired session with an event.

Every process that applies the event frees the memory of the session.
The fold cannot end them by the time of the log: if a clock was ever far ahead, that time stays in
the log, and every session started later would end at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from itertools import islice
from typing import Final

from eventapi.commands.sessions import ExpireSession
from eventapi.journal.journal import Journal
from events.errors import EventapiError, Refusal
from events.messages.server_log import SESSIONS_NOT_ENDED

logger = logging.getLogger("eventapi.tasks")

CHECK_INTERVAL_SECONDS: Final = 60.0
"""The average time between two checks; it varies, so that workers do not all check at once."""

SESSIONS_PER_BATCH: Final = 100


async def run_session_expiry(journal: Journal) -> None:
    """End expired sessions until cancelled."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            while await end_expired(journal):
                pass
        except (EventapiError, OSError) as error:
            logger.warning(SESSIONS_NOT_ENDED.fill(reason=error))


async def end_expired(journal: Journal) -> int:
    """End one batch of expired sessions, least recently used first.

    Returns the number of sessions ended.
    """
    unused = islice((await journal.state()).sessions.by_id.values(), SESSIONS_PER_BATCH)
    now = journal.clock.now()
    commands = [ExpireSession(one.id) for one in unused if one.expires_at <= now]
    ended = await asyncio.gather(*map(journal.execute, commands), return_exceptions=True)
    for outcome in ended:
        # Another process may have ended the session first.
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refusal):
            raise outcome
    return len(commands)
