"""Refuse to create a log if files show that an earlier one was lost.

A new log beside the keys, the checkpoint or the snapshots of a lost one would hide the loss: the
server would start empty, and new events would reuse the positions of lost ones. Therefore
`check_start` runs before anything is created, and a refusal changes no file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from eventapi.bootstrap.paths import (
    checkpoint_path,
    paths_beside,
    signed_head_path,
    signing_key_path,
    snapshots_path,
    vault_path,
)
from eventapi.configuration.settings import Settings
from events.errors import ConfigurationError, DamagedLog, VaultUnavailable
from events.io.files import wrong_kind_message
from events.log.file.paths import closed_segments, commit_index_path, segments_path
from events.messages.archives import ARCHIVE_READ_ONLY
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


def check_directories(settings: Settings) -> None:
    """Check the directories of data and log; raises `ConfigurationError`."""
    if not settings.log_path.name:
        raise ConfigurationError(f"EVENTAPI_LOG: {settings.log!r} is not the name of a file")
    places = {settings.data_path: "data directory"}
    places.setdefault(settings.log_path.parent, "directory of the log")
    for path, name in places.items():
        if reason := _directory_fault(path):
            raise ConfigurationError(NOT_A_DIRECTORY.fill(path=f"the {name} {path}", reason=reason))


def check_outbox(settings: Settings) -> None:
    """Check the directory that mail goes to, if any; raises `ConfigurationError`."""
    path = settings.outbox_path
    if path is not None and (reason := _directory_fault(path)):
        raise ConfigurationError(f"EVENTAPI_MAIL_URL: the outbox {path} {reason}")


def _directory_fault(path: Path) -> str:
    """Why a path cannot be used as a directory; empty if it can be."""
    try:
        if path.is_dir():
            return ""
        if path.is_symlink():
            return "is a symbolic link to a directory that is not there"
        if path.exists():
            return "is not a directory"
        above = next(one for one in path.absolute().parents if os.path.lexists(one))
        if not above.is_dir():
            return f"cannot be created, because {above} is not a directory"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return ""


def _check_regular_files(settings: Settings) -> None:
    """Refuse a directory, pipe or device in the place of a file beside the log.

    A container engine creates a directory if the file of a bind mount is missing. Raises
    `ConfigurationError`.
    """
    vault = [] if settings.is_database else [vault_path(settings)]
    for file in (*paths_beside(settings.log_path), *vault):
        if message := wrong_kind_message(file):
            raise ConfigurationError(message)


def check_log_is_there(settings: Settings) -> None:
    """Check that the log exists; raises `ConfigurationError`."""
    check_directories(settings)
    _check_regular_files(settings)
    path = settings.log_path
    if settings.is_archive:
        return  # Opening it finds out.
    if not settings.is_database and not path.exists():
        found = [] if path.is_symlink() else list(_evidence(settings))
        raise ConfigurationError(
            _lost_log_message(path, found) if found else no_log_message(settings)
        )


def no_log_message(settings: Settings) -> Message:
    """The message for a missing log that shows no sign of a loss."""
    if not settings.is_database and settings.log_path.is_symlink():
        return NO_LOG_BEHIND_LINK.fill(path=settings.log_path)
    return NO_LOG.fill(
        place=settings.log_name, advice=NAME_DATA if settings.log is None else NAME_LOG
    )


def check_writable(settings: Settings) -> None:
    """Raise `ConfigurationError` if the log is an archive."""
    if settings.is_archive:
        raise ConfigurationError(ARCHIVE_READ_ONLY.fill(place=settings.log_name))


def check_start(settings: Settings, *, begin: bool, needs_vault: bool = True) -> None:
    """Check that no file of the log was lost; nothing is created or changed.

    Without ``begin`` the log must exist. ``needs_vault`` is false for a copy of a log, which has no
    vault beside it. Raises `ConfigurationError`, also for an archive, and `VaultUnavailable`.
    """
    check_writable(settings)
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
    if found and _is_log_lost(path):  # Another process may have just created it.
        raise ConfigurationError(_lost_log_message(path, found))
    if not begin and not path.exists():
        raise ConfigurationError(no_log_message(settings))


def check_database_start(settings: Settings) -> None:
    """Refuse to create a log in an empty database if files show that it had one."""
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
    """Whether the log has no events, so that the vault may be missing."""
    try:
        return settings.log_path.stat().st_size == 0
    except FileNotFoundError:
        return True


def acknowledged_events(path: Path) -> int:
    """The number of acknowledged events according to the mark; 0 without a mark."""
    # Rarely needed, and the parent of several workers would keep the module in memory.
    from events.log.file.commit_index import read_commit_point  # noqa: PLC0415

    with suppress(FileNotFoundError):
        return read_commit_point(commit_index_path(path)).head.position
    return 0


def _is_log_lost(path: Path) -> bool:
    """Whether the log is missing, or empty although its mark is missing or has events."""
    try:
        if path.stat().st_size:
            return False
        return not commit_index_path(path).exists() or acknowledged_events(path) > 0
    except FileNotFoundError:
        return True
    except DamagedLog:
        return True


def _check_vault(settings: Settings) -> None:
    """Check that a log with events has its vault; raises `VaultUnavailable`.

    Raises `DamagedLog` for a file that is no log, beside which no vault is missing.
    """
    vault = vault_path(settings)
    if settings.is_database or may_begin_vault(settings) or vault.exists():
        return
    from events.log.file.opening import check_is_log  # noqa: PLC0415 - as above

    if not commit_index_path(settings.log_path).exists():
        check_is_log(settings.log_path)
    raise VaultUnavailable(VAULT_MISSING.fill(path=vault))


def _evidence(settings: Settings) -> Iterator[str]:
    """Describe the files that a lost log left behind."""
    path = settings.log_path
    yield from _traces_beside(path)
    yield from _vault_traces(vault_path(settings))
    names = [file.stem for file in snapshots_path(settings).glob("*.snapshot")]
    if positions := [int(name) for name in names if name.isdecimal()]:
        yield f"snapshots (the newest of {max(positions):,} events)"


def _traces_beside(path: Path) -> Iterator[str]:
    """Describe those whose names begin with that of the log."""
    mark, key = commit_index_path(path), signing_key_path(path)
    try:
        if events := acknowledged_events(path):
            yield f"{mark.name} ({events:,} events were acknowledged)"
    except DamagedLog:
        yield f"{mark.name} (damaged)"
    if segments := closed_segments(path):
        yield f"{segments_path(path).name} ({len(segments):,} closed segments)"
    if key.exists():
        yield key.name
    for signed in (checkpoint_path(path), signed_head_path(path)):
        if signed.exists():
            yield f"{signed.name}{_checkpoint_size(signed)}"


def _checkpoint_size(checkpoint: Path) -> str:
    from events.transparency.signed_note import Note, TreeHead  # noqa: PLC0415 - as above

    with suppress(OSError, ValueError):
        size = TreeHead.parse(Note.parse(checkpoint.read_text(encoding="utf-8"))).size
        return f" (of {size:,} events)"
    return ""


def _vault_traces(vault: Path) -> Iterator[str]:
    """Describe a vault that has keys, or a file in its place that is not a vault."""
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
