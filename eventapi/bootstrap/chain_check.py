"""Set up the background check of the lines below the snapshot.

Some tasks begin only after it, and damage that it finds ends the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from eventapi.bootstrap.paths import snapshots_path
from eventapi.bootstrap.process import DAMAGED, exit_after_flush
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from eventapi.tasks.chain_check import ChainCheck
from events.errors import DamagedLog
from events.log.port import EventLog
from events.messages.server_log import SNAPSHOTS_NOT_REMOVED

logger = logging.getLogger("eventapi")

Work = Callable[[], Coroutine[Any, Any, None]]


def chain_check_of(settings: Settings, journal: Journal, log: EventLog) -> ChainCheck:
    """The check of the lines that the start of a journal has not checked."""

    def end(error: DamagedLog) -> None:
        journal.fence = error
        try:
            if journal.snapshots is not None:
                # Without one, the next start folds all lines and refuses the log.
                journal.snapshots.remove()
        except OSError as reason:
            directory = snapshots_path(settings)
            logger.error(  # noqa: TRY400 - no traceback needed
                SNAPSHOTS_NOT_REMOVED.fill(reason=reason, directory=directory)
            )
        exit_after_flush(DAMAGED)

    return ChainCheck(log, journal.unchecked, end)


def after(check: ChainCheck, work: Work) -> Work:
    """A task that begins when the check is done."""

    async def wait_and_run() -> None:
        await check.wait()
        await work()

    return wait_and_run
