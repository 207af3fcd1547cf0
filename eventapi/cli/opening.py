"""Opening what a command works on: the log to read, the state to look at, the journal to write."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from eventapi.bootstrap import storage
from eventapi.cli.failures import Misuse, NegativeResult
from eventapi.cli.output import progress_bar
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from events.log.port import EventLog
from events.messages.commands import NO_DATA_DIRECTORY, NO_POSITION
from events.sealing import Keyring
from events.vault.port import Vault
from projections.replay import replay
from projections.state import State

LOCK_SECONDS: Final = 5.0
REPLAYING: Final = "replaying the log"


opened_log = storage.open_log_for_reading
"""The log, to be read beside a running server; it creates and changes nothing."""

opened_vault = storage.open_vault_for_reading
"""The vault of that log, likewise."""


def check_data_directory(settings: Settings) -> None:
    """A command that writes to a database keeps its mark in the server's data directory.

    Raises `Misuse` where that is not there: a server makes it, and a command in a wrong folder
    must not.
    """
    if settings.is_database and not settings.data_path.is_dir():
        raise Misuse(NO_DATA_DIRECTORY.fill(path=settings.data))


@asynccontextmanager
async def writing_journal(settings: Settings, *, begin: bool = False) -> AsyncIterator[Journal]:
    """The journal, to write beside a running server; only with ``begin`` a log may be made."""
    check_data_directory(settings)
    bar = partial(progress_bar, REPLAYING)
    async with storage.open_journal(settings, begin=begin, bar=bar) as (journal, _):
        yield journal


@asynccontextmanager
async def open_runs(
    log: EventLog, after: int = 0, upto: int | None = None
) -> AsyncIterator[AsyncIterator[list[bytes]]]:
    """What `EventLog.read` gives, closed also where the reader gives up half-way."""
    runs = log.read(after, upto)
    try:
        yield runs
    finally:
        if isinstance(runs, AsyncGenerator):
            await runs.aclose()


async def state_at(log: EventLog, vault: Vault, at: int | str | None = None) -> State:
    """The state at a position, at a time in a record's form, or now; folded from zero.

    Raises `NegativeResult` for a position that does not exist, and what `replay` raises.
    """
    position = at if isinstance(at, int) else None
    time = at if isinstance(at, str) else None
    if position is not None and position > log.position:
        raise NegativeResult(NO_POSITION.fill(position=position, end=log.position))
    with progress_bar(REPLAYING, log.position if position is None else position) as bar:
        return await replay(log, Keyring(), vault, position=position, time=time, progress=bar)


def resolve_log(place: str) -> str:
    """The log that a file, a directory or an address means."""
    if "://" in place or not (place.endswith("/") or Path(place).is_dir()):
        return place
    return str(Path(place) / "events.jsonl")


def settings_for_log(place: str, settings: Settings) -> Settings:
    """The settings for the log that a place means; raises `Misuse` for a bad address."""
    try:
        return msgspec.structs.replace(settings, log=resolve_log(place))
    except ValueError as error:
        raise Misuse(str(error)) from None


def operator() -> str:
    """The actor of what is done here: the user of the operating system."""
    try:
        return f"operator/{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"operator/{os.getuid()}"
