"""The log file of the server: whole lines from any number of processes.

The file is never rotated here. A program such as logrotate may rename it at any time; each
process opens the new file at its next line. See `deploy/logrotate/eventapi`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from events.errors import ConfigurationError
from events.io.files import make_directory, open_or_make


class LogFile:
    """The file as one process has it open, reopened after a rename.

    It does what `logging.handlers.WatchedFileHandler` does, for bytes.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or create it with mode 0640; raises `ConfigurationError`."""
        self._path = path
        try:
            if not path.parent.is_dir():
                make_directory(path.parent, 0o750)
            self._descriptor = self._open()
        except OSError as error:
            reason = error.strerror
            if isinstance(error, FileExistsError | NotADirectoryError):
                reason = f"{path.parent} is not a directory"
            message = f"EVENTAPI_LOG_FILE: {path} cannot be opened: {reason}"
            raise ConfigurationError(message) from error

    def write(self, lines: bytes) -> None:
        """Append whole lines in one write, so that lines of several processes never mix.

        Raises `OSError` where nothing can be written.
        """
        with suppress(OSError):  # The new file cannot be opened: keep the old one.
            if not self._is_current():
                renamed, self._descriptor = self._descriptor, self._open()
                os.close(renamed)
        write_all(self._descriptor, lines)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return open_or_make(self._path, os.O_WRONLY | os.O_APPEND, 0o640)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


def write_all(descriptor: int, lines: bytes) -> None:
    """Write lines with one call, and the rest again where a call takes only a part.

    Raises `OSError` where a call takes nothing.
    """
    written = os.write(descriptor, lines)
    while written < len(lines):
        written += os.write(descriptor, lines[written:])
