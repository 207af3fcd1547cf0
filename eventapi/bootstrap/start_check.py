"""Whether a log may be begun: not where there is evidence that there was one.

A log that is begun beside the keys, the checkpoint or the snapshots of a lost one would hide the
loss: it would be served as an empty one, and its first events would take the numbers of others. So
`check_start` runs before anything is created, and what it refuses leaves every file as it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from eventapi.configuration.settings import Settings
from events.errors import ConfigurationError, DamagedLog, VaultUnavailable
from events.io.files import wrong_kind_message
from events.log.file.paths import commit_index_path, lock_path
from events.messages.errors import (
    DATABASE_LOG_LOST,
    LOG_LOST,
    NAME_DATA,
    NAME_LOG,
    NO_LOG,
    NO_LOG_BEHIND_LINK,
    NOT_A_DIRECTORY,
    NOT_A_REGULAR_FILE,
    VAULT_MISSING,
)
from events.messages.message import Message

KEY, CHECKPOINT, SIGNED = ".key", ".checkpoint", ".signed"
"""What lies beside a log and signs for it; the names go on from that of the log."""

_SIGNING_SUFFIXES = (KEY, CHECKPOINT, SIGNED, ".cosigned")


def check_directories(settings: Settings) -> None:
    """Refuse a data directory, or a directory of the log, that is none.

    Raises `ConfigurationError`.
    """
    if not settings.log_path.name:
        raise ConfigurationError(f"EVENTAPI_LOG: {settings.log!r} is no name of a file")
    places = {settings.data_path: "data directory"}
    places.setdefault(settings.log_path.parent, "directory of the log")
    for path, name in places.items():
        if reason := _directory_fault(path):
            raise ConfigurationError(NOT_A_DIRECTORY.fill(path=f"the {name} {path}", reason=reason))


def _directory_fault(path: Path) -> str:
    """Why a path is no directory and cannot become one; empty where it is or can be made."""
    try:
        if path.is_dir():
            return ""
        if path.is_symlink():
            return "is a symbolic link to a directory that is not there"
        if path.exists():
            return "is not a directory"
        above = next(one for one in path.absolute().parents if os.path.lexists(one))
        if not above.is_dir():
            return f"cannot be made, because {above} is not a directory"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return ""


def _check_regular_files(settings: Settings) -> None:
    """Refuse a directory, pipe or device where a file beside the log belongs.

    A container engine makes a directory where the file of a bind mount is missing. Raises
    `ConfigurationError`.
    """
    path = settings.log_path
    signing = [path.with_name(path.name + suffix) for suffix in _SIGNING_SUFFIXES]
    vault = [] if settings.is_database else [path.with_name("vault.sqlite")]
    for file in (commit_index_path(path), lock_path(path), *signing, *vault):
        if message := wrong_kind_message(file):
            raise ConfigurationError(message)


def check_log_is_there(settings: Settings) -> None:
    """Refuse to go on without a log; raises `ConfigurationError`."""
    check_directories(settings)
    _check_regular_files(settings)
    path = settings.log_path
    if not settings.is_database and not path.exists():
        found = [] if path.is_symlink() else list(_evidence(settings))
        raise ConfigurationError(
            _lost_log_message(path, found) if found else no_log_message(settings)
        )


def no_log_message(settings: Settings) -> Message:
    """What is said where there is no log, and what to do then."""
    if not settings.is_database and settings.log_path.is_symlink():
        return NO_LOG_BEHIND_LINK.fill(path=settings.log_path)
    return NO_LOG.fill(
        place=settings.log_name, advice=NAME_DATA if settings.log is None else NAME_LOG
    )


def check_start(settings: Settings, *, begin: bool, needs_vault: bool = True) -> None:
    """Refuse a start beside files that are lost; nothing is created or changed.

    Without ``begin`` there must be a log. A copy of a log has no vault beside it. Raises
    `ConfigurationError` and `VaultUnavailable`.
    """
    check_directories(settings)
    _check_regular_files(settings)
    path = settings.log_path
    if path.is_symlink() and not path.exists():
        raise ConfigurationError(no_log_message(settings))
    if path.exists() and not path.is_file():
        raise ConfigurationError(NOT_A_REGULAR_FILE.fill(path=path))
    if settings.is_database or not _is_log_lost(path):
        if needs_vault:
            _check_vault(settings)
        return
    found = list(_evidence(settings))
    if found and _is_log_lost(path):  # Another process may have begun it meanwhile.
        raise ConfigurationError(_lost_log_message(path, found))
    if not begin and not path.exists():
        raise ConfigurationError(no_log_message(settings))


def check_database_start(settings: Settings) -> None:
    """Refuse to begin a log in a database that has none, as `check_start` does for a file."""
    if found := list(_traces_beside(settings.log_path)):
        message = DATABASE_LOG_LOST.fill(
            place=settings.log_name, found=", ".join(found), directory=settings.data_path
        )
        raise ConfigurationError(message)


def _lost_log_message(path: Path, found: Sequence[str]) -> Message:
    state, first = "there is no log at", ""
    if path.exists():
        state, first = "there is nothing in the log", f"rm {path}, then "
    return LOG_LOST.fill(
        state=state, path=path, found=", ".join(found), first=first, directory=path.parent
    )


def may_begin_vault(settings: Settings) -> bool:
    """Whether the log has no events, so that a vault may still be missing."""
    try:
        return settings.log_path.stat().st_size == 0
    except FileNotFoundError:
        return True


def acknowledged_events(path: Path) -> int:
    """How many events of a log the mark beside it calls acknowledged; 0 without a mark."""
    # Seldom needed, and the parent of several workers keeps what it imports.
    from events.log.file.commit_index import read_commit_point  # noqa: PLC0415

    with suppress(FileNotFoundError):
        return read_commit_point(commit_index_path(path)).head.position
    return 0


def _is_log_lost(path: Path) -> bool:
    """Whether there is no log, or less than nothing was published in it."""
    try:
        if path.stat().st_size:
            return False
        mark = path.with_name(f"{path.name}.mark")
        return not mark.exists() or acknowledged_events(path) > 0
    except FileNotFoundError:
        return True
    except DamagedLog:
        return True


def _check_vault(settings: Settings) -> None:
    """A log with events needs the vault that has its keys."""
    vault = settings.log_path.parent / "vault.sqlite"
    if settings.is_database or may_begin_vault(settings) or vault.exists():
        return
    raise VaultUnavailable(VAULT_MISSING.fill(path=vault))


def _evidence(settings: Settings) -> Iterator[str]:
    """The files that a log leaves behind, each with what it tells of it."""
    path = settings.log_path
    yield from _traces_beside(path)
    yield from _vault_traces(path.with_name("vault.sqlite"))
    names = [file.stem for file in (path.parent / "snapshots").glob("*.snapshot")]
    if positions := [int(name) for name in names if name.isdecimal()]:
        yield f"snapshots (the newest of {max(positions):,} events)"


def _traces_beside(path: Path) -> Iterator[str]:
    """Of these files the ones that bear the name of the log."""
    mark = commit_index_path(path).name
    try:
        if events := acknowledged_events(path):
            yield f"{mark} ({events:,} events were acknowledged)"
    except DamagedLog:
        yield f"{mark} (damaged)"
    if path.with_name(path.name + KEY).exists():
        yield path.name + KEY
    for suffix in (CHECKPOINT, SIGNED):
        kept = path.with_name(path.name + suffix)
        if kept.exists():
            yield f"{kept.name}{_checkpoint_size(kept)}"


def _checkpoint_size(checkpoint: Path) -> str:
    from events.transparency.signed_note import Note, TreeHead  # noqa: PLC0415 - as above

    with suppress(OSError, ValueError):
        size = TreeHead.of(Note.of(checkpoint.read_text(encoding="utf-8"))).size
        return f" (of {size:,} events)"
    return ""


def _vault_traces(vault: Path) -> Iterator[str]:
    """That a vault has, or had, keys; a file that is no vault is evidence of one as well."""
    if not vault.exists() or not vault.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"{vault.absolute().as_uri()}?mode=ro", uri=True)) as db:
            ((count,),) = db.execute("SELECT count(*) FROM keys")
    except sqlite3.Error as error:
        yield f"{vault.name} ({error})"
        return
    if count:
        yield f"{vault.name} (keys of {count:,} user{'s' if count > 1 else ''})"
