"""Progress of followers beside a log in a file.

::

    followers.sqlite        a row a follower: its progress; a row a parked part
    followers.NAME.lock     locked by the process that runs the follower NAME

The kernel releases an ``flock`` when its process ends, so another process continues at once after a
kill. A stopped process keeps its lock until it continues or is killed: then the other workers of
the machine write and read the log as before, but its followers wait.

Crash contract: SQLite commits a row durably or not at all. If the file is lost or damaged, it may be
removed, also while processes use it: a follower that runs stores its progress in the new file, and any
other one begins at its first position, which only repeats events. What was parked is lost with the
file.

Each process keeps one connection, because to open one costs as much as to store a row. WAL mode would need
one sync for a row instead of four, but its files are found by name: after a removal, a process that still
has the old file open would share them with the new one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from eventapi.followers.port import Lease, Parked, Progress
from events.errors import FollowersUnavailable, LeaseLost
from events.io.files import FileIdentity, make_file, open_or_make
from events.io.tasks import run_in_thread
from events.messages.errors import FOLLOWERS_FAILED

_T = TypeVar("_T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS followers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    hash TEXT NOT NULL,
    failing_since TEXT NOT NULL,
    status TEXT NOT NULL
) STRICT
"""
_PARKED_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS parked (
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    part TEXT NOT NULL,
    since TEXT NOT NULL,
    due TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (name, position, part)
) STRICT
"""
_READ_PARKED: Final = "SELECT position, part, since, due, attempts FROM parked WHERE name = ?"
_PARK: Final = "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?)"
_UNPARK: Final = "DELETE FROM parked WHERE name = ? AND position = ? AND part = ?"
_REMOVE_PARKED: Final = "DELETE FROM parked WHERE name = ?"
_READ: Final = "SELECT position, hash, failing_since, status FROM followers WHERE name = ?"
_STORE: Final = "INSERT OR REPLACE INTO followers VALUES (?, ?, ?, ?, ?)"
_REMOVE: Final = "DELETE FROM followers WHERE name = ?"
_BUSY_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 1.0


class FileFollowers:
    """Progress in one SQLite file; safe for any number of processes of one machine."""

    def __init__(self, path: Path) -> None:
        """``path`` is that of ``followers.sqlite``, which is created when it is needed."""
        self._path = path
        self._leases: set[_FileLease] = set()
        self._lock = asyncio.Lock()
        self._db: sqlite3.Connection | None = None
        self._identity: FileIdentity

    async def acquire(self, name: str) -> Lease | None:
        with self._translate_errors():
            lease = _FileLease.acquire(self, self._path.with_name(_lock_name(name)), name)
        if lease is not None:
            self._leases.add(lease)
        return lease

    async def read(self, name: str) -> Progress | None:
        if not self._path.exists():
            return None
        row = await self.call(lambda db: db.execute(_READ, [name]).fetchone())
        return None if row is None else Progress(*row)

    async def remove(self, name: str) -> None:
        if self._path.exists():
            await self.call(lambda db: _remove(db, name))
        with self._translate_errors():  # A holder compares its open file with this name.
            self._path.with_name(_lock_name(name)).unlink(missing_ok=True)

    async def close(self) -> None:
        for lease in [*self._leases]:
            await lease.release()
        async with self._lock:
            if self._db is not None:
                await run_in_thread(self._disconnect)

    def forget(self, lease: _FileLease) -> None:
        """Forget a lease that was released."""
        self._leases.discard(lease)

    async def call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work in a transaction, in a thread.

        It is done even if the caller is cancelled, unless other work is still before it.
        """

        def run() -> _T:
            try:
                with self._connection() as db:
                    return work(db)
            except sqlite3.Error:
                self._disconnect()  # The file may be repaired meanwhile.
                raise

        # They wait here, because in a thread each would take one that requests need.
        with self._translate_errors():
            async with self._lock:
                return await run_in_thread(run)

    def _connection(self) -> sqlite3.Connection:
        """The open connection; a new one if the file is new, or was removed or replaced."""
        if self._db is not None and not self._identity.loss():
            return self._db
        self._disconnect()
        # Only a new file: closing one that is in use drops its POSIX locks.
        with suppress(FileExistsError):
            os.close(make_file(self._path, os.O_WRONLY))
        # Before it is opened: if it is replaced in between, the next call notices.
        self._identity = FileIdentity(self._path, self._path.stat())
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        self._db = sqlite3.connect(
            address, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
        )
        for statement in (_SCHEMA, _PARKED_SCHEMA):
            self._db.execute(statement).close()
        return self._db

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FollowersUnavailable(
                FOLLOWERS_FAILED.fill(path=self._path, reason=reason)
            ) from error
        except sqlite3.Error as error:
            raise FollowersUnavailable(
                FOLLOWERS_FAILED.fill(path=self._path, reason=error)
            ) from error


def _remove(db: sqlite3.Connection, name: str) -> None:
    for statement in (_REMOVE, _REMOVE_PARKED):
        db.execute(statement, [name]).close()


def _lock_name(name: str) -> str:
    return f"followers.{name}.lock"


class _FileLease:
    """An open lock file; it is lost if the file is removed or replaced."""

    def __init__(self, store: FileFollowers, name: str, path: Path, descriptor: int) -> None:
        self._store = store
        self._name = name
        self._descriptor: int | None = descriptor
        self._identity = FileIdentity(path, os.fstat(descriptor))

    @classmethod
    def acquire(cls, store: FileFollowers, path: Path, name: str) -> _FileLease | None:
        """Lock the file; return ``None`` if it is locked, or is just being removed."""
        descriptor = open_or_make(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lease = cls(store, name, path, descriptor)
            if not lease.is_lost:
                return lease
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def is_lost(self) -> bool:
        """Whether another process may hold a lock of that name."""
        try:
            return self._descriptor is None or self._identity.loss() is not None
        except OSError:
            return True

    async def read(self) -> Progress | None:
        return await self._store.read(self._name)

    async def store(self, progress: Progress) -> None:
        row = (progress.hash, progress.failing_since, progress.status)
        await self._change(_STORE, (self._name, progress.position, *row))

    async def parked(self) -> Sequence[Parked]:
        rows = await self._store.call(lambda db: db.execute(_READ_PARKED, [self._name]).fetchall())
        return [Parked(*row) for row in rows]

    async def park(self, parked: Parked) -> None:
        await self._change(_PARK, (self._name, *msgspec.structs.astuple(parked)))

    async def unpark(self, parked: Parked) -> None:
        await self._change(_UNPARK, (self._name, *parked.key))

    async def _change(self, statement: str, values: Sequence[object]) -> None:
        """Execute a statement durably, if the lease is still held; raises `LeaseLost`."""

        def change(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            self.check()
            db.execute(statement, values).close()

        await self._store.call(change)

    def check(self) -> None:
        if self.is_lost:
            raise LeaseLost(f"the follower {self._name} has another holder")

    async def keep(self) -> None:
        while not self.is_lost:  # noqa: ASYNC110 - other processes change it
            await asyncio.sleep(_CHECK_SECONDS)

    async def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._store.forget(self)
