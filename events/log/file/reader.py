"""The log file opened only to be read: nothing is created, locked for writing or changed.

It works on a read-only file system and for a user who may only read. What is published stands in
the mark, which is mapped read-only. Where there is no mark, or one that says that nothing is
published, the file may be a copy or may have lost its mark: then its lines are checked here, and
nothing that is found is written down.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from events.errors import ConfigurationError, LogUnavailable
from events.io.files import is_locked, permission_hint
from events.log.file.commit_index import CommitIndex, CommitPoint
from events.log.file.log import JsonlLog, check_is_log
from events.log.file.paths import commit_index_path, lock_path
from events.log.file.recovery import recover_tail
from events.log.port import Head
from events.messages.errors import NAME_LOG, NO_LOG
from events.messages.server_log import TAIL_PASSED_OVER

logger = logging.getLogger("events.log")


class JsonlReader(JsonlLog):
    """Published lines of a file; the reading half of `JsonlLog`."""

    def __init__(self, path: Path) -> None:
        """Open the log; raises `ConfigurationError` where there is none, and `DamagedLog`."""
        self.path = path
        self._mark_path = commit_index_path(path)
        self._is_mapped = False
        try:
            if path.exists() and not self._mark_path.exists():
                check_is_log(path)
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._mark = self._open_mark()
            except BaseException:
                os.close(self._file)
                raise
        except FileNotFoundError:
            raise ConfigurationError(NO_LOG.fill(place=path, advice=NAME_LOG)) from None
        except OSError as error:
            reason = (
                f"the log {path} cannot be read: {error.strerror}{permission_hint(path, error)}"
            )
            raise ConfigurationError(reason) from error
        self._start_index()

    def _open_mark(self) -> CommitIndex:
        mark = None
        with suppress(FileNotFoundError):
            mark = CommitIndex.open_for_reading(self._mark_path)
        if mark is not None:
            if mark.position or not os.fstat(self._file).st_size or self._is_being_written():
                self._is_mapped = True
                return mark
            mark.close()
        return CommitIndex.in_memory(self._mark_path, self._judged())

    def _is_being_written(self) -> bool:
        """Whether a process holds the lock: then bytes past the mark are not durable yet."""
        lock = lock_path(self.path)
        try:
            return is_locked(lock)
        except FileNotFoundError:
            return False

    def _judged(self) -> CommitPoint:
        """What recovery would keep of the file; raises `DamagedLog`."""
        with open(self._file, "rb", closefd=False) as file:
            tail = recover_tail(file, 0, Head())
        if left := os.fstat(self._file).st_size - tail.offset:
            logger.warning(TAIL_PASSED_OVER.fill(path=self.path, bytes=left))
        return CommitPoint(tail.offset, tail.head)

    @property
    def position(self) -> int:
        if not self._is_mapped:
            self._look_for_mark()
        return self._mark.position

    def _look_for_mark(self) -> None:
        """Follow a mark that a server has made meanwhile, once it has come as far."""
        with suppress(OSError):
            mark = CommitIndex.open_for_reading(self._mark_path)
            if mark.position < self._mark.position:
                mark.close()
                return
            self._mark.close()
            self._mark, self._is_mapped = mark, True

    def exclusive(self, timeout: float) -> NoReturn:
        raise self._refused()

    async def append(
        self, lines: Sequence[bytes], head: Head, *, revokes: bool = False
    ) -> NoReturn:
        raise self._refused()

    def _refused(self) -> LogUnavailable:
        return LogUnavailable(f"the log {self.path} is open only for reading")

    async def close(self) -> None:
        self._mark.close()
        os.close(self._file)
