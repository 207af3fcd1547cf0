"""Planted bugs: a campaign that does not find them proves nothing.

Some are shared with the simulation. Bugs that need a power cut, a second process or two faults at
once are left out, because here written data stays in the files, and one call fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from events.errors import VaultUnavailable
from events.log.file.log import JsonlLog
from events.vault.sqlite import SqliteVault
from tests.fault_injection.simulation import planted
from tests.fault_injection.simulation.planted import Bug, instead

_real_put = SqliteVault.put


def _write_once(log: JsonlLog, data: bytes, offset: int) -> None:
    """Treat a short write as complete."""
    log._file.pwrite(data, offset)


def _refuse_as_it_is(_: JsonlLog, error: OSError) -> NoReturn:
    raise error


async def _put_perhaps(vault: SqliteVault, keys: Mapping[str, bytes]) -> None:
    with suppress(VaultUnavailable):
        await _real_put(vault, keys)


_SIMULATED: Sequence[str] = (
    "acknowledge before the sync",
    "publish before the sync",
    "drop the fence, and trust the cache",
    "apply before the append",
    "do not recover",
    "cut below the mark",
)

PLANTED: Mapping[str, Bug] = {
    "take a short write for a whole one": instead(JsonlLog, "_write_all", _write_once),
    "tell an error as it comes": instead(JsonlLog, "_raise_refusal", _refuse_as_it_is),
    "write without the key": instead(SqliteVault, "put", _put_perhaps),
    **{name: planted.PLANTED[name] for name in _SIMULATED},
}
"""The planted bugs by their description."""
