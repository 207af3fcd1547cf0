"""The log file opened only to be read: nothing is created, locked or changed.

It works on a read-only file system and for a user who may only read. The published end is read from
the commit index, which is mapped read-only. If there is no commit index, or an empty one, the file
may be a copy or may have lost its commit index: then its lines are checked here, and the result
stays in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from events.errors import ConfigurationError, LogUnavailable
from events.io.files import is_locked, permission_hint
from events.log.file.commit_index import CommitIndex, CommitPoint
from events.log.file.lines import PublishedLines
from events.log.file.opening import check_is_file, check_is_log
from events.log.file.paths import commit_index_path, lock_path
from events.log.file.recovery import recover_tail
from events.log.file.segments import SegmentedFile
from events.log.port import Head
from events.messages.errors import NAME_LOG, NO_LOG
from events.messages.server_log import TAIL_PASSED_OVER

logger = logging.getLogger("events.log")


class JsonlReader(PublishedLines):
    """The log of a file for a process that may only read; appends are refused."""

    def __init__(self, path: Path) -> None:
        """Open the log; raises `ConfigurationError` if there is none, and `DamagedLog`."""
        try:
            if path.exists():
                check_is_file(path)
                if not commit_index_path(path).exists():
                    check_is_log(path)
            file = SegmentedFile.open(path)
            try:
                index = _map_commit_index(path, file)
                self._is_mapped = index is not None
                super().__init__(path, file, index or _recover_in_memory(path, file))
            except BaseException:
                file.close()
                raise
        except FileNotFoundError:
            raise ConfigurationError(NO_LOG.fill(place=path, advice=NAME_LOG)) from None
        except OSError as error:
            # The cause may be the commit index instead of the log.
            found = Path(error.filename) if error.filename else path
            reason = f"the log {path} cannot be read: {error.strerror}"
            reason += f" ({found})" if found != path else ""
            reason += permission_hint(found, error)
            raise ConfigurationError(reason) from error

    @property
    def position(self) -> int:
        if not self._is_mapped:
            self._map_new_commit_index()
        return self._commit_index.position

    def _map_new_commit_index(self) -> None:
        """Follow a commit index that a server created since, unless it is behind ours."""
        with suppress(OSError):
            index = CommitIndex.open_for_reading(commit_index_path(self.path))
            if index.position < self._commit_index.position:
                index.close()
                return
            self._commit_index.close()
            self._commit_index, self._is_mapped = index, True

    def exclusive(self, timeout: float) -> NoReturn:
        raise self._read_only()

    async def append(
        self, lines: Sequence[bytes], head: Head, *, revokes: bool = False
    ) -> NoReturn:
        raise self._read_only()

    def keep_reserve(self) -> None:
        pass

    async def release_reserve(self) -> bool:
        return False

    def _read_only(self) -> LogUnavailable:
        return LogUnavailable(f"the log {self.path} is open only for reading")

    async def close(self) -> None:
        self._commit_index.close()
        self._file.close()


def _map_commit_index(path: Path, file: SegmentedFile) -> CommitIndex | None:
    """Map the commit index; return None if there is none, or a useless empty one."""
    try:
        index = CommitIndex.open_for_reading(commit_index_path(path))
    except FileNotFoundError:
        return None
    if index.position or not file.size or _is_being_written(path):
        file.check_place(index.read())
        return index
    index.close()
    return None


def _is_being_written(path: Path) -> bool:
    """Whether a process has the lock: then the end of the file is not durable yet."""
    try:
        return is_locked(lock_path(path))
    except FileNotFoundError:
        return False


def _recover_in_memory(path: Path, file: SegmentedFile) -> CommitIndex:
    """Find the lines that recovery would keep; change nothing. Raises `DamagedLog`."""
    tail = recover_tail(file.stream(), 0, Head())
    file.check_newest(tail.head)
    if left := file.size - tail.offset:
        logger.warning(TAIL_PASSED_OVER.fill(path=path, bytes=left))
    return CommitIndex.in_memory(commit_index_path(path), CommitPoint(tail.offset, tail.head))
