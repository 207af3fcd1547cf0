"""The vault as one SQLite file: the default where the log is a file.

A key is destroyed by overwriting it with zeros. A row is never deleted: when SQLite balances its
tree it moves rows between pages and leaves stale copies behind, even under ``secure_delete``. Rows
that are only added at the end and overwritten at the same length are not moved. The rollback
journal has a copy of the page during the transaction, and is removed at its end;
``synchronous=EXTRA`` syncs file and directory before `put` and `destroy` return. WAL mode is not
used, because it would keep old pages.

Tombstones are in a table of their own. Earlier versions had none: there, a row of zeros is a
tombstone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from events.errors import LogFenced, StorageFull, VaultUnavailable
from events.io.files import FileIdentity, make_file, permission_hint
from events.io.tasks import wait_uncancellable
from events.messages.errors import (
    NOT_A_VAULT,
    VAULT_FAILED,
    VAULT_FILE_GONE,
    VAULT_MISSING,
    VAULT_UNUSABLE,
)
from events.messages.message import Message
from events.vault.tombstones import UNKNOWN, fingerprint

_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    subject TEXT PRIMARY KEY,
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT
"""
_TOMBSTONES = """
CREATE TABLE IF NOT EXISTS erased (
    subject TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) IN (0, 32)),
    PRIMARY KEY (subject, fingerprint)
) STRICT, WITHOUT ROWID
"""
_HAS_TOMBSTONES = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'erased'"
_ADD_TOMBSTONE = "INSERT INTO erased VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_UNKNOWN = """
INSERT INTO erased SELECT ?1, x'' WHERE NOT EXISTS (SELECT 1 FROM erased WHERE subject = ?1)
"""
_ADD_ZEROED = """
INSERT INTO erased SELECT ?1, x'' WHERE NOT EXISTS (SELECT 1 FROM erased WHERE subject = ?1)
AND (SELECT key FROM keys WHERE subject = ?1) = zeroblob(32)
"""
_ZEROED = "SELECT subject FROM keys WHERE key = zeroblob(32)"
_PUT = "INSERT INTO keys VALUES (?, ?) ON CONFLICT (subject) DO UPDATE SET key = excluded.key"
_DESTROY = "UPDATE keys SET key = zeroblob(32) WHERE subject = ?"
_ALL = "SELECT subject, key FROM keys WHERE key != zeroblob(32)"
_ANY = "SELECT 1 FROM keys LIMIT 1"
_BUSY_SECONDS = 5.0
_SUBJECTS_PER_STATEMENT = 500
"""Host parameters in one statement, well under SQLite's limit."""

_NO_VAULT_CODES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""The file is no database, or has no table of keys."""


def _unusable(path: Path, error: Exception) -> Message:
    if getattr(error, "sqlite_errorcode", None) in _NO_VAULT_CODES:
        return NOT_A_VAULT.fill(path=path, reason=error)
    hint = ""
    with suppress(OSError):
        if not os.access(path, os.R_OK | os.W_OK):
            hint = permission_hint(path, OSError(errno.EACCES, ""))
    return VAULT_UNUSABLE.fill(path=path, reason=f"{error}{hint}")


class SqliteVault:
    """Keys in a table of two columns; safe for any number of processes."""

    def __init__(self, path: Path, *, begin: bool = True, writable: bool = True) -> None:
        """Open the file; with ``begin``, create it with mode 0600 if there is none.

        Without ``writable`` nothing is created or changed. Raises `VaultUnavailable`.
        """
        self._path = path
        self._lock = threading.Lock()
        begin = begin and writable
        try:
            if begin:
                # Only a new file: closing one that is in use drops its POSIX locks.
                with suppress(FileExistsError):
                    os.close(make_file(path, os.O_WRONLY))
            self._identity = FileIdentity(path, path.stat())
            address = f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
            self._db = sqlite3.connect(
                address, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
            )
        except FileNotFoundError:
            raise VaultUnavailable(VAULT_MISSING.fill(path=path)) from None
        except (OSError, sqlite3.Error) as error:
            raise VaultUnavailable(_unusable(path, error)) from error
        try:
            if writable:
                self._db.execute("PRAGMA secure_delete = ON")
                self._db.execute("PRAGMA synchronous = EXTRA")
            if begin:
                with self._db:
                    self._db.execute(_SCHEMA)
            self._db.execute(_ANY).close()
            if writable:
                with self._db:
                    _make_tombstones(self._db)
        except sqlite3.Error as error:
            self._db.close()
            raise VaultUnavailable(_unusable(path, error)) from error

    async def _call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        # The cursor must be closed in this thread, or its deletion elsewhere resets a statement.
        def locked() -> _T:
            with self._lock, self._db:
                return work(self._db)

        running = asyncio.get_running_loop().run_in_executor(None, locked)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # No key may be stored after the caller has released the log's lock.
            await wait_uncancellable(running)
            raise
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFull("no room for the vault") from error
            raise VaultUnavailable(VAULT_FAILED.fill(path=self._path, reason=error)) from error

    def _loss(self) -> str | None:
        try:
            return self._identity.loss()
        except OSError as error:
            raise VaultUnavailable(VAULT_FAILED.fill(path=self._path, reason=error)) from error

    async def put(self, keys: Mapping[str, bytes]) -> None:
        if loss := self._loss():
            raise LogFenced(VAULT_FILE_GONE.fill(loss=loss))

        def put(db: sqlite3.Connection) -> None:
            # A zeroed row of an earlier version is a tombstone, and must not be lost.
            db.executemany(_ADD_ZEROED, [(subject,) for subject in keys]).close()
            db.executemany(_PUT, keys.items()).close()

        await self._call(put)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        return await self._call(lambda db: _keys_of(db, subjects))

    async def all(self) -> dict[str, bytes]:
        return await self._call(lambda db: dict(db.execute(_ALL)))

    async def destroy(self, subjects: Collection[str]) -> None:
        if loss := self._loss():
            reason = f"{loss} while it was in use"
            raise VaultUnavailable(VAULT_FAILED.fill(path=self._path, reason=reason))

        def destroy(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            prints = [(name, fingerprint(key)) for name, key in _keys_of(db, subjects).items()]
            db.executemany(_ADD_TOMBSTONE, prints).close()
            db.executemany(_ADD_UNKNOWN, [(subject,) for subject in subjects]).close()
            _overwrite(db, subjects)

        await self._call(destroy)

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        def select(db: sqlite3.Connection) -> dict[str, frozenset[bytes]]:
            found: defaultdict[str, set[bytes]] = defaultdict(set)
            if db.execute(_HAS_TOMBSTONES).fetchone():
                for subject, one in db.execute("SELECT subject, fingerprint FROM erased"):
                    found[subject].add(one)
            for (subject,) in db.execute(_ZEROED):
                if subject not in found:
                    found[subject].add(UNKNOWN)
            return {subject: frozenset(prints) for subject, prints in found.items()}

        return await self._call(select)

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        def add(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            rows = [(name, one) for name, prints in tombstones.items() for one in prints]
            db.executemany(_ADD_TOMBSTONE, rows).close()
            alive = _keys_of(db, tombstones).items()
            _overwrite(db, [name for name, key in alive if fingerprint(key) in tombstones[name]])

        await self._call(add)

    async def close(self) -> None:
        with self._lock:
            self._db.close()


def _make_tombstones(db: sqlite3.Connection) -> None:
    """Create the table of tombstones, unless the file is read-only, as a copy may be."""
    try:
        db.execute(_TOMBSTONES)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise


def _keys_of(db: sqlite3.Connection, subjects: Collection[str]) -> dict[str, bytes]:
    wanted = list(subjects)
    found: dict[str, bytes] = {}
    for start in range(0, len(wanted), _SUBJECTS_PER_STATEMENT):
        part = wanted[start : start + _SUBJECTS_PER_STATEMENT]
        marks = ",".join("?" * len(part))
        found.update(db.execute(f"{_ALL} AND subject IN ({marks})", part))
    return found


def _overwrite(db: sqlite3.Connection, subjects: Iterable[str]) -> None:
    db.executemany(_DESTROY, [(subject,) for subject in subjects]).close()
