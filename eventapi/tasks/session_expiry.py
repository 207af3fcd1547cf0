"""Ending the sessions that expired, so that they leave memory: on every process, by an event each.

A fold cannot do it by the time of the log: once a clock was far ahead, that time stays there, and
every session that is started later would be over at once.
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

CHECK_SECONDS: Final = 60.0
"""How long it is between two looks, on average: workers do not look all at once."""

SESSIONS_PER_BATCH: Final = 100


async def run_session_expiry(journal: Journal) -> None:
    """End expired sessions until cancelled."""
    while True:
        await asyncio.sleep(CHECK_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            while await end_expired(journal):
                pass
        except (EventapiError, OSError) as error:
            logger.warning(SESSIONS_NOT_ENDED.fill(reason=error))


async def end_expired(journal: Journal) -> int:
    """End some of the sessions unused for longest, if they have expired; returns how many."""
    unused = islice((await journal.state()).sessions.by_id.values(), SESSIONS_PER_BATCH)
    now = journal.clock.now()
    commands = [ExpireSession(one.id) for one in unused if one.expires_at <= now]
    ended = await asyncio.gather(*map(journal.execute, commands), return_exceptions=True)
    for outcome in ended:
        # Another process may have been faster.
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refusal):
            raise outcome
    return len(commands)
