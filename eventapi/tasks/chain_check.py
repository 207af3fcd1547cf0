"""Background task: check the hash chain below the snapshot that a start used.

A start that waited for it would take as long as the log is long. Until it is done, nothing is signed
or proved: see docs/decisions/start.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from events.errors import DamagedLog, EventapiError, LogNotChecked
from events.log.check import follow_chain
from events.log.port import EventLog
from events.messages.server_log import CHAIN_BROKEN, CHAIN_NOT_CHECKED
from events.record import START, Record

logger = logging.getLogger("eventapi.tasks")

RETRY_SECONDS: Final = 5.0
CONFIRM_SECONDS: Final = 1.0
"""After so long, lines that seem damaged are read once more, because a read can go wrong, too."""


class ChainCheck:
    """The check of the lines up to a record, by each process of its own.

    ``on_damage`` is called once if the chain is broken or does not lead to the record.
    """

    def __init__(
        self, log: EventLog, upto: Record, on_damage: Callable[[DamagedLog], None]
    ) -> None:
        self.upto = upto.position
        self._log = log
        self._hash = upto.hash
        self._on_damage = on_damage
        self._last = START
        self.on_checked: Callable[[Record, Sequence[bytes]], None] = lambda *_: None
        """Callback for checked lines and the last of them, in log order, each line once."""
        self._done = asyncio.Event()
        if not upto.position:
            self._done.set()

    @property
    def position(self) -> int:
        """The position of the last line that is checked."""
        return self._last.position

    @property
    def is_done(self) -> bool:
        """Whether all lines are checked, and intact."""
        return self._done.is_set()

    @property
    def left(self) -> int:
        """The number of lines that are still to be checked."""
        return self.upto - self.position

    def require_done(self) -> None:
        """Raise `LogNotChecked` unless the check is done."""
        if not self.is_done:
            raise LogNotChecked(
                f"the hash chain of the log is still being checked: {self.position:,} of "
                f"{self.upto:,} events"
            )

    async def wait(self) -> None:
        """Wait until the check is done; for ever if the log is damaged."""
        await self._done.wait()

    async def run(self) -> None:
        """Check the lines; return when that is done, or the log is damaged."""
        suspected = unread = False
        while not self.is_done:
            try:
                await self._follow()
            except DamagedLog as error:
                if suspected:
                    self._on_damage(error)
                    logger.critical(CHAIN_BROKEN.fill(reason=error, position=self.upto))
                    return
                suspected = True
                await asyncio.sleep(CONFIRM_SECONDS)
            except EventapiError as error:
                if not unread:
                    logger.warning(CHAIN_NOT_CHECKED.fill(reason=error))
                suspected, unread = False, True
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        async for last, lines in follow_chain(self._log, self._last, self.upto):
            self.on_checked(last, lines)
            self._last = last  # Only now: if the callback raises, the lines are read again.
        if self._last.hash != self._hash:
            raise DamagedLog(
                "the lines up to here are not those of the snapshot",
                position=self.upto,
                offset=self._last.end,
            )
        self._done.set()
        logger.info("the hash chain of the log is intact: %s events", f"{self.upto:,}")
