"""Counts of failed logins in ``followers.sqlite``, beside a log in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from eventapi.failed_logins.port import MAX_NAMES, FailedLogins
from events.vocabulary.security import OTHER_NAMES

_T = TypeVar("_T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS failed_logins (
    window_start TEXT NOT NULL,
    subject TEXT NOT NULL,
    address_hash TEXT NOT NULL,
    failures INTEGER NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (window_start, address_hash, subject)
) STRICT, WITHOUT ROWID
"""
_KEY: Final = "window_start = ? AND subject = ? AND address_hash = ?"
_EXISTS: Final = f"SELECT 1 FROM failed_logins WHERE {_KEY}"  # noqa: S608 - constants
_NAMES: Final = f"""
SELECT count(*) FROM failed_logins
WHERE window_start = ? AND address_hash = ? AND subject LIKE 'security/%' AND subject != '{OTHER_NAMES}'
"""  # noqa: S608 - constants
_ADD: Final = """
INSERT INTO failed_logins VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET failures = failures + excluded.failures, sealed = excluded.sealed
"""
_READ: Final = """
SELECT window_start, subject, address_hash, failures, sealed FROM failed_logins
WHERE window_start <= ? ORDER BY window_start, subject, address_hash LIMIT ?
"""
_REMOVE: Final = f"DELETE FROM failed_logins WHERE {_KEY}"  # noqa: S608 - constants


class SqliteFile(Protocol):
    """A file of SQLite."""

    async def call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work in a transaction; raises `FollowersUnavailable`."""


class FileFailedLogins:
    """Counts in a SQLite file; safe for any number of processes of one machine."""

    def __init__(self, file: SqliteFile) -> None:
        """Use a file, in which the table is created when it is needed."""
        self._file = file

    async def add(self, counts: Sequence[FailedLogins]) -> None:
        def add(db: sqlite3.Connection) -> None:
            db.execute(_SCHEMA)
            # The limit of names needs a lock before the first read.
            db.execute("BEGIN IMMEDIATE")
            for one in counts:
                key = (one.window, one.subject, one.address_hash)
                subject = one.subject
                if one.has_unknown_name and db.execute(_EXISTS, key).fetchone() is None:
                    (names,) = db.execute(_NAMES, (one.window, one.address_hash)).fetchone()
                    if names >= MAX_NAMES:
                        subject = OTHER_NAMES
                db.execute(_ADD, (one.window, subject, one.address_hash, one.count, one.sealed))

        await self._file.call(add)

    async def read(self, upto: str, limit: int) -> list[FailedLogins]:
        def read(db: sqlite3.Connection) -> list[FailedLogins]:
            db.execute(_SCHEMA)
            return [FailedLogins(*row) for row in db.execute(_READ, (upto, limit))]

        return await self._file.call(read)

    async def remove(self, counts: Sequence[FailedLogins]) -> None:
        keys = [(one.window, one.subject, one.address_hash) for one in counts]

        def remove(db: sqlite3.Connection) -> None:
            db.executemany(_REMOVE, keys)

        await self._file.call(remove)
