"""Background task: write the failed logins of windows that have ended to the log.

Every process does this, and needs no lease: the command refuses what the log has already. So a crash
between the event and the removal of its count repeats nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

import msgspec

from eventapi.commands.security import WINDOW_SECONDS, RecordFailedLogins, window_of
from eventapi.failed_logins.counter import seal_context
from eventapi.failed_logins.port import FailedLogins, FailedLoginStore
from eventapi.journal.journal import Journal
from eventapi.values.times import SKEW_SECONDS, later
from events.errors import EventapiError, Refusal
from events.messages.server_log import FAILED_LOGINS_NOT_RECORDED
from events.sealing import unseal
from events.vocabulary.sessions import Device

logger = logging.getLogger("eventapi.failed_logins")

CHECK_SECONDS: Final = 10.0
"""The average time between two checks; it varies, so that workers do not all check at once."""

_ROWS_PER_BATCH: Final = 100
_decode_device: Final = msgspec.json.Decoder(Device).decode


async def run_recorder(journal: Journal, store: FailedLoginStore) -> None:
    """Record failed logins until cancelled."""
    failed = False
    while True:
        await asyncio.sleep(CHECK_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            while await record_due(journal, store):
                pass
            failed = False
        except EventapiError as error:
            if not failed:
                logger.warning(FAILED_LOGINS_NOT_RECORDED.fill(reason=error))
            failed = True


async def record_due(journal: Journal, store: FailedLoginStore) -> int:
    """Record one batch of failed logins whose window has ended; return its size.

    A window is left alone for as long as the clock of another instance may still be in it. Raises
    `EventapiError`; then what is not recorded is still stored.
    """
    last = window_of(later(journal.clock.now(), -(WINDOW_SECONDS + SKEW_SECONDS)))
    due = await store.read(last, _ROWS_PER_BATCH)
    source = (await journal.state()).last.source
    commands = [command for one in due if (command := _command_of(journal, source, one))]
    recorded = await asyncio.gather(*map(journal.execute, commands), return_exceptions=True)
    for outcome in recorded:
        # Another process may have recorded it first, or the user may be erased by now.
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refusal):
            raise outcome
    await store.remove(due)
    return len(due)


def _command_of(journal: Journal, source: str, one: FailedLogins) -> RecordFailedLogins | None:
    """The command for a count; ``None`` if it is 0, or of a user who was erased since."""
    if not one.count:
        return None
    if not one.sealed:
        return RecordFailedLogins(one.window, one.subject, one.address_hash, one.count)
    cipher = journal.keyring.get(one.subject)
    if cipher is None:
        return None
    try:
        device = _decode_device(
            unseal(cipher, one.sealed, seal_context(source, one.subject, one.window))
        )
    except ValueError:  # The store is that of another log.
        return None
    return RecordFailedLogins(one.window, one.subject, one.address_hash, one.count, device)
