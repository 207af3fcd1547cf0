"""The vault as a table of the database that has the log.

A key that is put while the log is locked is committed together with the lines that are sealed with
it. A key is destroyed by zeros written over it. That is not the end of it everywhere: PostgreSQL
keeps the old row until it is vacuumed, which is done at once, and every engine keeps what was
written in its write-ahead log until that is used again. What that means for replicas and backups,
``docs/operating.md`` says.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from sqlalchemy import bindparam, select, text, update

from events.database import ERRORS, KEYS, Database, brief, telling
from events.errors import VaultUnavailable

logger = logging.getLogger("events.vault")

_AT_ONCE = 500
"""Subjects in one statement."""

_DESTROYED = bytes(32)
_ALIVE = select(KEYS.c.subject, KEYS.c.key).where(KEYS.c.key != _DESTROYED)
_REPLACE = update(KEYS).where(KEYS.c.subject == bindparam("of")).values(key=bindparam("by"))
_telling = partial(telling, VaultUnavailable, "the vault")


class SqlVault:
    """Keys in a table of two columns; safe for any number of processes on any number of machines."""

    def __init__(self, database: Database) -> None:
        """The database is opened, and closed, by whoever made it."""
        self._database = database

    async def put(self, keys: Mapping[str, bytes]) -> None:
        with _telling():
            async with self._database.transaction() as connection:
                there: set[str] = set()
                for some in _in_parts(keys):
                    wanted = select(KEYS.c.subject).where(KEYS.c.subject.in_(some))
                    there |= set(await connection.scalars(wanted))
                old = [{"of": subject, "by": keys[subject]} for subject in there]
                new = [{"subject": name, "key": keys[name]} for name in keys.keys() - there]
                if old:
                    await connection.execute(_REPLACE, old)
                if new:
                    await connection.execute(KEYS.insert(), new)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with _telling():
            async with self._database.reading.connect() as connection:
                for some in _in_parts(subjects):
                    rows = await connection.execute(_ALIVE.where(KEYS.c.subject.in_(some)))
                    found.update((row.subject, row.key) for row in rows)
        return found

    async def all(self) -> dict[str, bytes]:
        with _telling():
            async with self._database.reading.connect() as connection:
                return {row.subject: row.key for row in await connection.execute(_ALIVE)}

    async def destroy(self, subjects: Collection[str]) -> None:
        if not subjects:
            return
        with _telling():
            async with self._database.transaction() as connection:
                for some in _in_parts(subjects):
                    gone = update(KEYS).where(KEYS.c.subject.in_(some)).values(key=_DESTROYED)
                    await connection.execute(gone)
        if self._database.is_postgresql and self._database.joined is None:
            await self._vacuum()

    async def _vacuum(self) -> None:
        try:
            async with self._database.reading.connect() as connection:
                await connection.execute(text(f"VACUUM {KEYS.name}"))
        except ERRORS as error:  # The database does it by itself later.
            logger.warning("destroyed keys are not vacuumed yet: %s", brief(error))

    async def close(self) -> None:
        pass


def _in_parts(subjects: Collection[str]) -> Iterator[list[str]]:
    names = sorted(subjects)
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
