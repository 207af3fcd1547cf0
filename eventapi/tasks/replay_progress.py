"""Who is folding the log right now, and how far: told in a small file each, read by everybody."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from events.io.files import make_one_directory, open_or_make_file
from projections.replay import Progress

PAUSE_SECONDS = 0.2
"""How long it is, at least, from one word to the next, and to the first."""


class Rebuilding(msgspec.Struct, frozen=True):
    """A process that has folded the log up to ``position``, ``of`` so many events."""

    process: int
    position: int
    of: int


class ReplayProgress:
    """The folds of all processes on one data directory; what is lost of it does no harm."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def report(self, of: int) -> Iterator[Progress]:
        """Something to call with the position reached, while a fold of so many events goes on."""
        path = self._directory / str(os.getpid())
        due = time.monotonic() + PAUSE_SECONDS

        def progress(position: int) -> None:
            nonlocal due
            if time.monotonic() < due:
                return
            due = time.monotonic() + PAUSE_SECONDS
            with suppress(OSError):
                make_one_directory(self._directory)
                with open_or_make_file(path, os.O_WRONLY | os.O_TRUNC) as file:
                    os.write(file, msgspec.json.encode(Rebuilding(os.getpid(), position, of)))

        try:
            yield progress
        finally:
            with suppress(OSError):
                path.unlink()

    def now(self) -> list[Rebuilding]:
        """Those that go on."""
        found = []
        with suppress(OSError):
            for path in sorted(self._directory.iterdir()):
                # It may be half-written, or of a process that was killed.
                with suppress(OSError, msgspec.DecodeError):
                    one = msgspec.json.decode(path.read_bytes(), type=Rebuilding)
                    os.kill(one.process, 0)
                    found.append(one)
        return found
