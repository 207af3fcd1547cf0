"""Load the state at a start: the newest snapshot, and the lines after it."""

from __future__ import annotations

from events.log.port import EventLog
from events.record import START, Record
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import Progress, has_last_line, replay
from projections.snapshots import Snapshots
from projections.state import State


async def load_state(  # noqa: PLR0917 - one of each
    log: EventLog,
    keyring: Keyring,
    vault: Vault,
    vocabulary: Vocabulary,
    snapshots: Snapshots | None,
    progress: Progress | None,
    *,
    check_later: bool,
) -> tuple[State, Record]:
    """The state, and the record up to which the log's chain must still be checked.

    With ``check_later`` a snapshot is used if the log has its last line, so the duration does not
    depend on the length of the log below it. Otherwise, and without a snapshot, the whole chain is
    checked here, and the record is `START`. The read models are left to the caller. Raises the
    errors of `replay`.
    """
    unchecked = START

    async def has_its_line(log: EventLog, state: State, _: Progress | None) -> bool:
        nonlocal unchecked
        if is_there := await has_last_line(log, state, None):
            unchecked = state.last
        return is_there

    state = await replay(
        log,
        keyring,
        vault,
        vocabulary,
        snapshots=snapshots,
        belongs_to=has_its_line if check_later else None,
        progress=progress,
        defer_read_models=True,
    )
    return state, unchecked
