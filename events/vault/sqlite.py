"""The vault as one SQLite file: the default where the log is a file.

A key is destroyed by zeros written in its place. A row is never deleted: when SQLite balances its
tree it moves rows between pages and leaves stale copies behind, even under ``secure_delete``. Rows
that are only ever added at the end and overwritten at the same length stay where they are. The
rollback journal, which held the page for the time of the transaction, is removed at its end;
``synchronous=EXTRA`` syncs file and directory before `put` and `destroy` return. WAL mode would
keep old pages and is not used.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from events.errors import StorageFull, VaultUnavailable
from events.threads import ended

_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    subject TEXT PRIMARY KEY,
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT
"""
_PUT = "INSERT INTO keys VALUES (?, ?) ON CONFLICT (subject) DO UPDATE SET key = excluded.key"
_DESTROY = "UPDATE keys SET key = zeroblob(32) WHERE subject = ?"
_ALL = "SELECT subject, key FROM keys WHERE key != zeroblob(32)"
_BUSY_SECONDS = 5.0
_AT_ONCE = 500
"""Host parameters in one statement, well under SQLite's limit."""


class SqliteVault:
    """Keys in a table of two columns; safe for any number of processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it with mode 0600; raises `VaultUnavailable`."""
        self._path = path
        self._lock = threading.Lock()
        try:
            # Only where it is new: to close a file that is in use drops its locks (POSIX).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise VaultUnavailable(f"the vault {path} cannot be opened: {error}") from error
        try:
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA synchronous = EXTRA")
            with self._db:
                self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise VaultUnavailable(f"the vault {path} cannot be opened: {error}") from error

    async def _call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        # The cursor must end in here too: freed elsewhere, it would reset a statement in use.
        def locked() -> _T:
            with self._lock, self._db:
                return work(self._db)

        running = asyncio.get_running_loop().run_in_executor(None, locked)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A key must not be stored any more once the caller has let go of the log's lock.
            await ended(running)
            raise
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFull("no room for the vault") from error
            raise VaultUnavailable(f"the vault {self._path} failed: {error}") from error

    async def put(self, keys: Mapping[str, bytes]) -> None:
        await self._call(lambda db: db.executemany(_PUT, keys.items()).close())

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        wanted = list(subjects)

        def select(db: sqlite3.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                found.update(db.execute(f"{_ALL} AND subject IN ({marks})", part))
            return found

        return await self._call(select)

    async def all(self) -> dict[str, bytes]:
        return await self._call(lambda db: dict(db.execute(_ALL)))

    async def destroy(self, subjects: Collection[str]) -> None:
        gone = [(subject,) for subject in subjects]
        await self._call(lambda db: db.executemany(_DESTROY, gone).close())

    async def close(self) -> None:
        with self._lock:
            self._db.close()
