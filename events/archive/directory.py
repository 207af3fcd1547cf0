"""The objects of an archive as files in a directory.

Each file is written under another name, synced, and renamed; a crash leaves at most files that end
with ``.tmp`` behind, which a later run removes. The entries of directories are synced by `DirectoryObjects.flush`.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from events.errors import LogUnreachable, StorageFull
from events.io.files import (
    TEMPORARY,
    make_directory,
    make_one_directory,
    permission_hint,
    sync_directory,
    write_whole,
)
from events.messages.archives import ARCHIVE_FULL, ARCHIVE_UNREACHABLE

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_LEFTOVER_SECONDS: Final = 3_600
"""The age of a temporary file that no run can still be writing."""


class DirectoryObjects:
    """The objects below a directory, which the first put creates."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._unsynced: set[Path] = set()
        """Directories with entries that are not durable yet."""
        self._made: set[Path] = set()

    async def get(self, name: str, limit: int) -> bytes | None:
        return await asyncio.to_thread(self._read, name, limit)

    def _read(self, name: str, limit: int) -> bytes | None:
        with self._translate_errors(name):
            try:
                with (self._path / name).open("rb") as file:
                    return file.read(limit + 1)
            except (FileNotFoundError, NotADirectoryError):
                return None

    async def put(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._write, name, content)

    def _write(self, name: str, content: bytes) -> None:
        path = self._path / name
        with self._translate_errors(name):
            self._make_folder(path.parent)
            write_whole(path, content)
        self._unsynced.add(path.parent)

    def _make_folder(self, path: Path) -> None:
        # A run that was killed may have made it, and not synced its entry.
        if path in self._made:
            return
        if path == self._path:
            make_directory(path)
        else:
            self._make_folder(path.parent)
            make_one_directory(path)
            self._unsynced.add(path.parent)
        _remove_leftovers(path)
        self._made.add(path)

    async def flush(self) -> None:
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        while self._unsynced:
            path = self._unsynced.pop()
            with self._translate_errors(path.name):
                sync_directory(path)

    async def names(self, folder: str) -> Sequence[str]:
        return await asyncio.to_thread(self._list, folder)

    def _list(self, folder: str) -> Sequence[str]:
        with self._translate_errors(folder):
            try:
                found = sorted((self._path / folder).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []
            whole = [path.name for path in found if path.is_file() and path.suffix != TEMPORARY]
            return [f"{folder}/{name}" for name in whole]

    async def delete(self, names: Collection[str]) -> None:
        await asyncio.to_thread(self._remove, names)

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            path = self._path / name
            with self._translate_errors(name):
                path.unlink(missing_ok=True)
                self._unsynced.add(path.parent)
                with suppress(OSError):  # Unless it has others, also those of another run.
                    path.parent.rmdir()
                    self._unsynced.discard(path.parent)
                    self._made.discard(path.parent)
                    self._unsynced.add(path.parent.parent)

    @contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror or error}{permission_hint(self._path, error)}"
            if error.errno in _NO_ROOM:
                raise StorageFull(ARCHIVE_FULL.fill(place=self.name, reason=reason)) from None
            message = ARCHIVE_UNREACHABLE.fill(place=self.name, object=name, reason=reason)
            raise LogUnreachable(message) from None


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed runs; those of other runs are not that old."""
    for file in folder.glob(f"*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _LEFTOVER_SECONDS:
                file.unlink()
