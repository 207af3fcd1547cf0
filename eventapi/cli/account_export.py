"""The work of ``eventapi users export``: every event about a user, opened."""

from __future__ import annotations

from typing import BinaryIO, Final

from eventapi.accounts.export import EVENTS_PER_PART, Export, positions_about
from eventapi.bootstrap.storage import checkpoints_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import opened_log, opened_vault, state_at
from eventapi.cli.output import echo_warning, printable, progress_bar
from eventapi.cli.vaults import find_user
from eventapi.configuration.settings import Settings
from eventapi.queries.history import History
from events.errors import SigningSuspended
from events.log.port import EventLog
from events.messages.commands import EVENTS_UNPROVEN
from events.sealing import Keyring
from events.transparency.checkpoints import Proofs

EXPORTING: Final = "exporting events"


async def export_account(settings: Settings, username: str, out: BinaryIO) -> None:
    """Write every event about a user and the user's resources; creates nothing.

    Nothing is signed, either: the proofs are in the newest checkpoint that was. A warning counts the
    events after it. Raises the errors of `find_user`, and `NegativeResult` if the log contradicts that
    checkpoint.
    """
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault, from_zero=True)
        user = await find_user(state, vault, username)
        keyring = Keyring()
        for subject, key in (await vault.get([user.subject])).items():
            keyring.add(subject, key)
        history = History(log, keyring, vault, None, lambda: state.vocabulary)
        proofs = await _recorded_proofs(settings, log)
        export = Export(history, keyring, user.subject, proofs)
        positions = await positions_about(state, user.id)
        with progress_bar(EXPORTING, len(positions)) as progress:
            for start in range(0, len(positions), EVENTS_PER_PART):
                part = positions[start : start + EVENTS_PER_PART]
                out.write(await export.part(part))
                progress(start + len(part))
    unproven = sum(not export.covers(position) for position in positions)
    if unproven:
        echo_warning(EVENTS_UNPROVEN.fill(count=f"{unproven:,}", name=printable(username)))


async def _recorded_proofs(settings: Settings, log: EventLog) -> Proofs | None:
    try:
        return await checkpoints_of(settings, log).recorded_proofs()
    except SigningSuspended as error:
        raise NegativeResult(error.message) from None
