"""Refuse to open a file that is no log, and to begin a log in place of a lost one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from events.errors import ConfigurationError, DamagedLog, MissingEvents
from events.log.file.closed import list_segments
from events.log.file.commit_index import read_commit_point
from events.log.file.paths import commit_index_path, segments_path
from events.log.file.search import HEAD_BYTES, stated_position
from events.messages.errors import (
    LOG_FILE_LOST,
    NAME_LOG,
    NO_LOG,
    NOT_A_LOG,
    NOT_A_REGULAR_FILE,
)

_FIRST_BYTES: Final = b'{"specversion":"1.0","id":"1",'
"""What every log begins with, in its first segment or in its open file."""


def check_is_file(path: Path) -> None:
    """Refuse a pipe or a directory; reading a pipe would block for ever.

    Raises `ConfigurationError`.
    """
    if not path.is_file():
        raise ConfigurationError(NOT_A_REGULAR_FILE.fill(path=path))


def check_is_log(path: Path) -> None:
    """Refuse a file of other content: recovery would take all of it for a torn tail.

    A log without a commit index is a copy, or lost its commit index, and begins as a log does.
    Raises `ConfigurationError` and `DamagedLog`.
    """
    check_is_file(path)
    with path.open("rb") as file:
        first = file.readline(HEAD_BYTES)
    # An open file after closed segments begins with a later position.
    if stated_position(first) is None and not _FIRST_BYTES.startswith(first):
        raise DamagedLog(NOT_A_LOG.fill(path=path), position=1, offset=0)


def check_may_begin(path: Path, *, begin: bool) -> None:
    """Refuse to begin a log unless asked to, or beside the files of a lost one.

    Raises `ConfigurationError`, `MissingEvents` and `DamagedLog`.
    """
    if not begin:
        raise ConfigurationError(NO_LOG.fill(place=path, advice=NAME_LOG))
    index = commit_index_path(path)
    position = max((last for _, last, _ in list_segments(segments_path(path))), default=0)
    if index.exists():
        position = read_commit_point(index).head.position or position
    # Another process may have begun the log since this one found none.
    if position and not path.exists():
        raise MissingEvents(LOG_FILE_LOST.fill(events=position), position=1, offset=0)
