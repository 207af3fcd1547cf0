"""Background task: remove mails of users whom another process erased.

The process that erases a user removes the mails that it can reach. Another instance with the same
database has an outbox of its own, and a command may have been started with other settings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eventapi.mail.outbox import remove_mails
from eventapi.queries.subscriptions import EventFilter, LogWatcher, subject_of
from events.errors import EventapiError
from events.messages.mails import MAILS_NOT_REMOVED
from events.vocabulary.users import UserErased

logger = logging.getLogger("eventapi.mail")

_PAUSE_SECONDS: Final = 1.0
"""How often the log is read: a read for every write would cost each of them some percent."""

_ERASED: Final = EventFilter.of(UserErased.type, None, None)


async def run_removals(directories: Sequence[Path], watcher: LogWatcher, position: int) -> None:
    """Remove the mails of users erased after a position, until the watcher closes."""
    while not watcher.closed:
        await asyncio.sleep(_PAUSE_SECONDS)
        upto = watcher.position
        if upto == position:
            continue
        try:
            erased = [
                subject_of(line)
                async for run in watcher.lines(position, upto, _ERASED)
                for _, line in run
            ]
            await remove_mails(directories, erased)
        except EventapiError as error:
            logger.warning(MAILS_NOT_REMOVED.fill(reason=error))
        else:
            position = upto
