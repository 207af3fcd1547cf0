"""Open the log, the vault, the state or the journal for a command."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from eventapi.bootstrap import storage
from eventapi.cli.failures import Failure, Misuse, NegativeResult
from eventapi.cli.output import progress_bar
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from eventapi.security.secret_key import is_missing, secret_keys
from events.archive.places import is_archive
from events.log.port import EventLog
from events.messages.commands import NO_DATA_DIRECTORY, NO_POSITION, NO_SECRET_KEY
from events.sealing import Keyring
from events.vault.port import Vault
from projections.replay import has_last_line, replay
from projections.state import State

LOCK_SECONDS: Final = 5.0
REPLAYING: Final = "replaying the log"


opened_log = storage.open_log_for_reading
"""Open the log read-only, beside a running server; creates and changes nothing."""

opened_vault = storage.open_vault_for_reading
"""Open the vault of that log read-only; creates and changes nothing."""


def check_data_directory(settings: Settings) -> None:
    """Check that the data directory exists if the log is in a database.

    A command that writes to a database stores its mark in the server's data directory. Raises
    `Misuse` if the directory is missing: only a server creates it, because a command may have
    been started in the wrong directory.
    """
    if settings.is_database and not settings.data_path.is_dir():
        raise Misuse(NO_DATA_DIRECTORY.fill(path=settings.data))


@asynccontextmanager
async def writing_journal(settings: Settings, *, begin: bool = False) -> AsyncIterator[Journal]:
    """Open the journal beside a running server; ``begin`` allows creating a log.

    Like a server, it starts from the newest snapshot. The chain below that is not checked, unless
    VERIFY is ``before``: the next start of a server does it, or `eventapi log verify`. See
    docs/decisions/start.md.
    """
    check_data_directory(settings)
    bar = partial(progress_bar, REPLAYING)
    check_later = settings.verify == "background"
    async with storage.open_journal(settings, begin=begin, bar=bar, check_later=check_later) as (
        journal,
        _,
    ):
        yield journal


@asynccontextmanager
async def open_runs(
    log: EventLog, after: int = 0, upto: int | None = None
) -> AsyncIterator[AsyncIterator[list[bytes]]]:
    """Iterate over `EventLog.read`; the iterator is closed if the caller stops early."""
    runs = log.read(after, upto)
    try:
        yield runs
    finally:
        if isinstance(runs, AsyncGenerator):
            await runs.aclose()


async def state_at(
    settings: Settings,
    log: EventLog,
    vault: Vault,
    at: int | str | None = None,
    keyring: Keyring | None = None,
    *,
    from_zero: bool = False,
) -> State:
    """Fold the state: to a position, to a time, or to the end of the log.

    The fold begins at the newest snapshot, like that of a server, and leaves out read models that
    the snapshot does not have. With ``from_zero`` it reads, and thereby checks, all lines. A time has
    the form of a record. ``keyring`` gets the keys of the users. Raises `NegativeResult` for a
    position that does not exist, and the errors of `replay`.
    """
    position = at if isinstance(at, int) else None
    time = at if isinstance(at, str) else None
    if position is not None and position > log.position:
        raise NegativeResult(NO_POSITION.fill(position=position, end=log.position))
    vocabulary = storage.registry_of(settings).vocabulary
    with progress_bar(REPLAYING, log.position if position is None else position) as bar:
        return await replay(
            log,
            Keyring() if keyring is None else keyring,
            vault,
            vocabulary,
            position=position,
            time=time,
            snapshots=None if from_zero else storage.snapshots_of(settings, read_only=True),
            belongs_to=has_last_line if settings.verify == "background" else None,
            progress=bar,
            defer_read_models=not from_zero,
        )


def resolve_log(place: str) -> str:
    """Return the log in a directory; a file, a URL or an archive is returned as it is."""
    if "://" in place or is_archive(place) or not (place.endswith("/") or Path(place).is_dir()):
        return place
    return str(Path(place) / "events.jsonl")


def settings_for_log(place: str, settings: Settings) -> Settings:
    """The settings with the log at another place; raises `Misuse` for a bad URL."""
    if not place:
        raise Misuse("the place of a log is empty: name a file, a directory or a database")
    try:
        return msgspec.structs.replace(settings, log=resolve_log(place))
    except ValueError as error:
        raise Misuse(str(error)) from None


def stored_secret_keys(settings: Settings) -> Sequence[str]:
    """The keys of the server; raises `Failure` if it has not made one yet."""
    if is_missing(settings.secret_key, settings.data_path):
        raise Failure(NO_SECRET_KEY.fill(path=settings.data))
    return secret_keys(settings.secret_key, settings.data_path)


def operator() -> str:
    """The actor of events that a command writes: the user of the operating system."""
    try:
        return f"operator/{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"operator/{os.getuid()}"
