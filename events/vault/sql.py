"""The vault as a table of the database that has the log.

A key that is stored while the log is locked is committed together with the lines that are sealed
with it. A key is destroyed by overwriting it with zeros. Old copies can outlive that: PostgreSQL
keeps the old row until a vacuum, which runs at once, and every engine keeps old writes in its
write-ahead log until the log's space is reused. See ``docs/operating.md`` about replicas and
backups. A vacuum keeps rows that an older transaction may still see, such as the batch of another
server: so the background task that follows the log repeats it for a minute.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from sqlalchemy import Update, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.database.failures import translate_errors
from events.database.tables import KEYS, TOMBSTONES
from events.errors import VaultUnavailable
from events.vault.tombstones import UNKNOWN, fingerprint

_SUBJECTS_PER_STATEMENT = 500
"""The time limit of a statement bounds how many it can handle."""

_VACUUM_SECONDS = 60.0

_DESTROYED = bytes(32)
_ALIVE = select(KEYS.c.subject, KEYS.c.key).where(KEYS.c.key != _DESTROYED)
_ZEROED = select(KEYS.c.subject).where(KEYS.c.key == _DESTROYED)
_REPLACE = update(KEYS).where(KEYS.c.subject == bindparam("of")).values(key=bindparam("by"))
_translate_errors = partial(translate_errors, VaultUnavailable, "the vault")


class SqlVault:
    """Keys in a table; safe for any number of processes on any number of machines."""

    def __init__(self, database: Database) -> None:
        """Use an open database, which the caller closes."""
        self._database = database

    async def put(self, keys: Mapping[str, bytes]) -> None:
        with _translate_errors():
            await self._database.write(lambda connection: self._put(connection, keys), joins=True)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with _translate_errors():
            async with self._database.reading.connect() as connection:
                for chunk in _chunks(subjects):
                    rows = await connection.execute(_ALIVE.where(KEYS.c.subject.in_(chunk)))
                    found.update((row.subject, row.key) for row in rows)
        return found

    async def all(self) -> dict[str, bytes]:
        with _translate_errors():
            async with self._database.reading.connect() as connection:
                return {row.subject: row.key for row in await connection.execute(_ALIVE)}

    async def destroy(self, subjects: Collection[str]) -> None:
        if not subjects:
            return
        with _translate_errors():
            await self._database.write(
                lambda connection: self._destroy(connection, subjects), joins=True
            )
        await self._vacuum()

    async def _destroy(self, connection: AsyncConnection, subjects: Collection[str]) -> None:
        for chunk in _chunks(subjects):
            await self._destroy_chunk(connection, chunk)

    async def _destroy_chunk(self, connection: AsyncConnection, subjects: list[str]) -> None:
        alive = _ALIVE.where(KEYS.c.subject.in_(subjects)).with_for_update()
        found = {row.subject: fingerprint(row.key) for row in await connection.execute(alive)}
        erased = select(TOMBSTONES.c.subject).where(TOMBSTONES.c.subject.in_(subjects))
        known = {*found, *await connection.scalars(erased)}
        rows = [*found.items(), *((name, UNKNOWN) for name in subjects if name not in known)]
        await self._add_tombstones(connection, rows)
        await connection.execute(_overwrite(subjects))

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        found: defaultdict[str, set[bytes]] = defaultdict(set)
        with _translate_errors():
            async with self._database.reading.connect() as connection:
                for row in await connection.execute(select(TOMBSTONES)):
                    found[row.subject].add(bytes.fromhex(row.fingerprint))
                # An earlier version stored no tombstone beside the zeros.
                for subject in await connection.scalars(_ZEROED):
                    if subject not in found:
                        found[subject].add(UNKNOWN)
        return {subject: frozenset(prints) for subject, prints in found.items()}

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        with _translate_errors():
            await self._database.write(
                lambda connection: self._copy_tombstones(connection, tombstones), joins=True
            )
        await self._vacuum()

    async def _copy_tombstones(
        self, connection: AsyncConnection, tombstones: Mapping[str, Collection[bytes]]
    ) -> None:
        for chunk in _chunks(tombstones):
            rows = [(name, one) for name in chunk for one in tombstones[name]]
            await self._add_tombstones(connection, rows)
            alive = _ALIVE.where(KEYS.c.subject.in_(chunk)).with_for_update()
            found = [(row.subject, row.key) for row in await connection.execute(alive)]
            gone = [name for name, key in found if fingerprint(key) in tombstones[name]]
            if gone:
                await connection.execute(_overwrite(gone))

    async def _add_tombstones(
        self, connection: AsyncConnection, rows: list[tuple[str, bytes]]
    ) -> None:
        named = [{"subject": name, "fingerprint": one.hex()} for name, one in rows]
        await self._database.insert_missing(connection, TOMBSTONES, named)

    async def _vacuum(self) -> None:
        if self._database.is_postgresql:
            self._database.vacuum_until = asyncio.get_running_loop().time() + _VACUUM_SECONDS
            if self._database.current_transaction is None:
                await self._database.vacuum()

    async def _put(self, connection: AsyncConnection, keys: Mapping[str, bytes]) -> None:
        for chunk in _chunks(keys):
            await self._put_chunk(connection, {subject: keys[subject] for subject in chunk})

    async def _put_chunk(self, connection: AsyncConnection, keys: Mapping[str, bytes]) -> None:
        same = select(KEYS).where(KEYS.c.subject.in_(list(keys)))
        existing = {row.subject: row.key for row in await connection.execute(same)}
        # A zeroed row of an earlier version is a tombstone, and must not be lost.
        zeroed = [subject for subject, key in existing.items() if key == _DESTROYED]
        if zeroed:
            await self._destroy_chunk(connection, zeroed)
        old = [{"of": subject, "by": keys[subject]} for subject in existing]
        new = [{"subject": name, "key": keys[name]} for name in keys.keys() - existing.keys()]
        if old:
            await connection.execute(_REPLACE, old)
        if new:
            await connection.execute(KEYS.insert(), new)

    async def close(self) -> None:
        pass


def _overwrite(subjects: Collection[str]) -> Update:
    return update(KEYS).where(KEYS.c.subject.in_(subjects)).values(key=_DESTROYED)


def _chunks(subjects: Collection[str]) -> Iterator[list[str]]:
    names = sorted(subjects)
    for start in range(0, len(names), _SUBJECTS_PER_STATEMENT):
        yield names[start : start + _SUBJECTS_PER_STATEMENT]
