"""Room on the disk that a log in a file keeps in reserve, for events that take rights away.

Without it, a full disk would keep every token alive: no logout, no end of a session, no change of a
password and no erasure could be written.

The reserve is a file of real blocks beside the log. Its size is its state, the same for all
processes: whole, or released. Releasing it truncates the file. While it is not whole, an append of
other events first fills it again, and is refused where there is no room for that. So a flood of
writes cannot take the room that was released.

A crash at any moment leaves the file whole or short, and both are valid. Its content means nothing.
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
"""Room for some 1,000 events, and for what the vault writes meanwhile."""

NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
"""The errors that more room would mend."""


class Reserve:
    """The reserve beside one log; without `make`, or where it cannot be made, there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def make(self) -> None:
        """Make the reserve, or open it, while the log is locked."""
        if self._file is not None:
            return
        try:
            self._file = open_or_make(self._path, os.O_RDWR | os.O_NOFOLLOW)
            self._allocate()
        except OSError as error:
            if self._file is None or error.errno not in NO_ROOM:
                self._give_up(error)

    def fill(self) -> None:
        """Make the reserve whole again, if it was released; raises `OSError` for want of room."""
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

    def release(self) -> bool:
        """Give the room back to the disk; returns whether there was any."""
        if self._file is None or not os.fstat(self._file).st_size:
            return False
        os.ftruncate(self._file, 0)
        # ext4 gives freed blocks to other files only once its journal is committed.
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
        """Allocate all blocks, also those of a file that was copied without them."""
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            os.posix_fallocate(self._file, 0, RESERVE_BYTES)
        except OSError:
            with suppress(OSError):  # A part of it would be missing elsewhere.
                os.ftruncate(self._file, 0)
            raise

    def _give_up(self, error: OSError) -> None:
        logger.warning(NO_RESERVE.fill(path=self._path, reason=error.strerror))
        self.close()
