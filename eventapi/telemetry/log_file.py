"""The log file of the server: whole lines, from any number of processes, rotated by whoever sees need.

Whole lines are written at once to a descriptor in append mode, so they never mix and none is lost. A file
that has grown to `ROTATE_BYTES` is renamed to ``NAME.1``, and that to ``NAME.2``, and so on; whoever
still has it open goes on writing to it until the next look, at most `CHECK_SECONDS` later, and then
opens the new one. So a program such as logrotate may rename it as well, but must not copy and
truncate it, nor compress ``NAME.1`` at once.

Only regular files are rotated. A symbolic link (``/dev/stdout`` is one), a device or a pipe is appended
to and never renamed.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from events.errors import ConfigurationError
from events.io.files import make_directory, open_or_make

ROTATE_BYTES: Final = 64 * 1_048_576
KEPT: Final = 8
"""How many rotated files are kept."""

LOOK_SECONDS: Final = 1.0


class LogFile:
    """The file as one process has it."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Open it, or make it with mode 0640; raises `ConfigurationError`."""
        self._path = path
        self._clock = clock
        try:
            if not path.parent.is_dir():
                make_directory(path.parent, 0o750)
            self._file = self._opened()
        except OSError as error:
            why = error.strerror
            if isinstance(error, FileExistsError | NotADirectoryError):
                why = f"{path.parent} is not a directory"
            reason = f"EVENTAPI_LOG_FILE: {path} cannot be opened: {why}"
            raise ConfigurationError(reason) from error
        self._due = clock() + LOOK_SECONDS
        self._is_cut = False

    def write(self, lines: bytes) -> None:
        """Append whole lines; raises `OSError` where none of it is taken.

        A line that is cut, since the disk is full, is ended before the next.
        """
        if self._clock() >= self._due:
            self._due = self._clock() + LOOK_SECONDS
            with suppress(OSError):  # Then the one that is open has to do.
                self._look()
        content = b"\n" + lines if self._is_cut else lines
        written = write_all(self._file, content)
        self._is_cut = content[written - 1 : written] != b"\n"

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def _opened(self) -> int:
        return open_or_make(self._path, os.O_WRONLY | os.O_APPEND, 0o640)

    def _look(self) -> None:
        """Rotate the file if it is large, and open the new one if it was rotated."""
        ours = os.fstat(self._file)
        if not stat.S_ISREG(ours.st_mode):
            return
        if ours.st_size >= ROTATE_BYTES:
            self._rotate()
        if not self._is_current():
            file, self._file = self._file, self._opened()
            self._is_cut = False
            os.close(file)

    def _is_current(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _rotate(self) -> None:
        """Rename it and those before it, unless another process does or did."""
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = [self._numbered(number) for number in range(KEPT + 1)]
            if self._is_current() and all(map(_is_regular, filter(os.path.lexists, kept))):
                for older, newer in pairwise(reversed(kept)):
                    with suppress(FileNotFoundError):
                        newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _is_regular(path: Path) -> bool:
    """Whether a name is that of a regular file itself, and not of a link to one."""
    return stat.S_ISREG(path.lstat().st_mode)


def write_all(descriptor: int, lines: bytes) -> int:
    """Write lines in one go; only where there is no room is less taken, and tried again.

    Returns how many bytes were taken; raises `OSError` where that is none.
    """
    written = os.write(descriptor, lines)
    with suppress(OSError):
        while written < len(lines):
            written += os.write(descriptor, lines[written:])
    return written
