"""Reserved disk space of a log in a file, for events that take rights away.

Without it, a full disk would keep every token alive: no logout, no end of a session, no change of a
password and no erasure could be written.

The reserve is a file of real blocks beside the log. Its size is its state, which all processes
share: whole, or released. Releasing it truncates the file. While it is not whole, an append of
other events first fills it again, and is refused if there is no room for that. So a flood of writes
cannot take the room that was released.

A crash at any moment leaves the file whole or short, and both are valid. Its content is not used.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from events.io.files import open_or_make
from events.messages.server_log import NO_RESERVE, RESERVE_RELEASED

logger = logging.getLogger("events.log")

RESERVE_BYTES: Final = 1 << 20
"""Room for some 1,000 events, and for the writes of the vault at the same time."""

_BLOCK_BYTES: Final = 4096

NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
"""The error numbers of a write that failed because the disk or the quota is full."""


class Reserve:
    """The reserve beside one log; there is none before `make`, or if `make` fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def make(self) -> None:
        """Create the reserve, or open it; call this under the log's lock. It never fails."""
        if self._file is not None:
            return
        try:
            self._file = open_or_make(self._path, os.O_RDWR | os.O_NOFOLLOW)
            self._allocate()
        except OSError as error:
            if self._file is None or error.errno not in NO_ROOM:
                self._give_up(error)

    def fill(self) -> None:
        """Make a released reserve whole again; raises `OSError` if there is no room."""
        if self._file is None or os.fstat(self._file).st_size >= RESERVE_BYTES:
            return
        try:
            self._allocate()
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            self._give_up(error)
        else:
            logger.info("there is room again on the disk of %s: all events are written", self._path)

    def check_room(self) -> None:
        """Raise `OSError` if there is no room beside the reserve, which must be whole.

        A block is allocated behind the reserve and freed at once. Unlike the free space that the
        file system reports, this respects quotas and the blocks that are kept for root.
        """
        if self._file is None:
            return
        try:
            os.posix_fallocate(self._file, RESERVE_BYTES, _BLOCK_BYTES)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
        finally:
            with suppress(OSError):  # A reserve that is too long is whole.
                os.ftruncate(self._file, RESERVE_BYTES)

    def release(self) -> bool:
        """Free the reserved room on the disk; return whether there was any."""
        if self._file is None or not os.fstat(self._file).st_size:
            return False
        os.ftruncate(self._file, 0)
        # ext4 reuses freed blocks only once its journal is committed.
        os.fsync(self._file)
        logger.warning(RESERVE_RELEASED.fill(path=self._path, bytes=RESERVE_BYTES))
        return True

    def close(self) -> None:
        """Close the file; the reserve stays."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _allocate(self) -> None:
        """Allocate all blocks, also the missing ones of a file that was copied sparsely."""
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            os.posix_fallocate(self._file, 0, RESERVE_BYTES)
        except OSError:
            with suppress(OSError):  # A part of the reserve only takes room from others.
                os.ftruncate(self._file, 0)
            raise

    def _give_up(self, error: OSError) -> None:
        logger.warning(NO_RESERVE.fill(path=self._path, reason=error.strerror))
        self.close()
