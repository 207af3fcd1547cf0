"""Opening what a command works on: the log to read, the state to look at, the journal to write."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from eventapi import storage
from eventapi.cli.failures import AnswerIsNo, Failure
from eventapi.cli.output import progress_bar
from eventapi.settings import Settings
from events.log.port import EventLog
from events.sealing import Keyring
from events.vault.port import Vault
from projections.replay import Progress, both, replay
from projections.state import State

LOCK_SECONDS: Final = 5.0


@asynccontextmanager
async def opened_log(settings: Settings) -> AsyncIterator[EventLog]:
    """The log, to be read beside whoever writes it; raises `Failure` where there is none.

    The lock is taken only where nothing is published: then the log may be a copy that came without
    its mark, and has to be looked through first.
    """
    if not settings.is_database and not settings.log_path.exists():
        raise Failure(f"there is no log at {settings.log_path}")
    async with storage.opened_log(settings) as log:
        if log.position == 0:
            async with log.exclusive(LOCK_SECONDS):
                pass
        yield log


@asynccontextmanager
async def reading(
    log: EventLog, after: int = 0, upto: int | None = None
) -> AsyncIterator[AsyncIterator[list[bytes]]]:
    """What `EventLog.read` gives, closed also where the reader gives up half-way."""
    runs = log.read(after, upto)
    try:
        yield runs
    finally:
        if isinstance(runs, AsyncGenerator):
            await runs.aclose()


async def state_at(
    log: EventLog, vault: Vault, at: int | str | None = None, *, told: Progress | None = None
) -> State:
    """The state at a position, at a time in a record's form, or now; folded from zero.

    ``told`` is called with the position reached, as is the bar on a terminal.
    Raises `AnswerIsNo` for a position that does not exist, and what `replay` raises.
    """
    position = at if isinstance(at, int) else None
    time = at if isinstance(at, str) else None
    if position is not None and position > log.position:
        raise AnswerIsNo(f"there is no position {position} yet: the log ends at {log.position}")
    with progress_bar("Replaying", log.position if position is None else position) as bar:
        progress = both(bar, told) if told else bar
        return await replay(log, Keyring(), vault, position=position, time=time, progress=progress)


def log_in(place: str) -> str:
    """The log that a file or a directory means."""
    if "://" in place or not (place.endswith("/") or Path(place).is_dir()):
        return place
    return str(Path(place) / "events.jsonl")


def checkpoint_beside(path: Path) -> Path:
    """The file of the checkpoint of a log."""
    return path.with_name(f"{path.name}.checkpoint")


def operator() -> str:
    """The actor of what is done here: the user of the operating system."""
    try:
        return f"operator/{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"operator/{os.getuid()}"
