"""Planted bugs: a campaign that does not find them proves nothing.

Some are shared with the simulation. Bugs that need a power cut, a second process or two faults at
once are left out, because here written data stays in the files, and one call fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from typing import NoReturn

from events.errors import VaultUnavailable
from events.log.file import closing
from events.log.file.log import JsonlLog
from events.log.file.segments import SegmentedFile
from events.vault.sqlite import SqliteVault
from tests.fault_injection.simulation import planted
from tests.fault_injection.simulation.bugs import Bug, instead
from tests.fault_injection.simulation.planted_closings import PLANTED_CLOSINGS

_real_put = SqliteVault.put


def _write_once(log: JsonlLog, data: bytes, offset: int) -> None:
    """Treat a short write as complete."""
    log._file.pwrite(data, offset)


def _refuse_as_it_is(_: JsonlLog, error: OSError) -> NoReturn:
    raise error


async def _put_perhaps(vault: SqliteVault, keys: Mapping[str, bytes]) -> None:
    with suppress(VaultUnavailable):
        await _real_put(vault, keys)


def _copy_once(file: SegmentedFile, copy: FileIO, at: int, size: int, _: int) -> None:
    """Treat a short write to the next open file as complete."""
    copy.write(file.pread(size, at))


@contextmanager
def _cut_short() -> Iterator[None]:
    """Take a short copy for a whole one; either guard prevents it."""
    with (
        instead(closing, "_copy_part", _copy_once)(),
        PLANTED_CLOSINGS["cut without the last lines"](),
    ):
        yield


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
    "take a short copy for a whole one": _cut_short,
    **{name: planted.PLANTED[name] for name in _SIMULATED},
}
"""The planted bugs by their description."""
