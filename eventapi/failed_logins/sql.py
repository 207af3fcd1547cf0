"""Counts of failed logins in the database of the log: one row each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import delete, select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventapi.failed_logins.port import MAX_NAMES, FailedLogins
from events.database.connection import Database
from events.database.failures import translate_errors
from events.database.tables import FAILED_LOGINS
from events.errors import FollowersUnavailable
from events.vocabulary.security import OTHER_NAMES

_translate_errors = partial(translate_errors, FollowersUnavailable, "the table of failed logins")
_C = FAILED_LOGINS.c


class SqlFailedLogins:
    """Rows of a table; safe for any number of processes on any number of machines."""

    def __init__(self, database: Database) -> None:
        """Use an open database, which the caller closes."""
        self._database = database

    async def add(self, counts: Sequence[FailedLogins]) -> None:
        # In one order, so that two processes that add at once do not wait for each other.
        ordered = sorted(counts, key=lambda one: (one.window, one.address_hash, one.subject))

        async def add_all(connection: AsyncConnection) -> None:
            for one in ordered:
                await self._add(connection, one)

        with _translate_errors():
            await self._database.write(add_all)

    async def _add(self, connection: AsyncConnection, one: FailedLogins) -> None:
        subject = one.subject
        if one.has_unknown_name:
            # The update locks this row, so that no other process adds a name to the address.
            await self._change(connection, one, OTHER_NAMES, 0)
            if not await self._has_room(connection, one):
                subject = OTHER_NAMES
        await self._change(connection, one, subject, one.count)

    async def _has_room(self, connection: AsyncConnection, one: FailedLogins) -> bool:
        """Whether the name is counted already, or may be."""
        names = select(_C.subject).where(
            _C.window_start == one.window,
            _C.address_hash == one.address_hash,
            _C.subject.like("security/%"),
            _C.subject != OTHER_NAMES,
        )
        found = {name for (name,) in await connection.execute(names)}
        return one.subject in found or len(found) < MAX_NAMES

    async def _change(
        self, connection: AsyncConnection, one: FailedLogins, subject: str, count: int
    ) -> None:
        row = (one.window, one.address_hash, subject, count, one.sealed)
        changes = {"failures": _C.failures + count, "sealed": one.sealed}
        # One statement locks the row for good; an insert and then an update may deadlock.
        if self._database.is_postgresql:
            added = postgresql_insert(FAILED_LOGINS).values(row)
            changed = added.on_conflict_do_update(
                constraint=FAILED_LOGINS.primary_key, set_=changes
            )
            await connection.execute(changed)
        else:
            new = mysql_insert(FAILED_LOGINS).values(row)
            await connection.execute(new.on_duplicate_key_update(changes))

    async def read(self, upto: str, limit: int) -> list[FailedLogins]:
        due = (
            select(_C.window_start, _C.subject, _C.address_hash, _C.failures, _C.sealed)
            .where(_C.window_start <= upto)
            .order_by(_C.window_start, _C.subject, _C.address_hash)
            .limit(limit)
        )
        with _translate_errors():
            async with self._database.reading.connect() as connection:
                return [FailedLogins(*row) for row in await connection.execute(due)]

    async def remove(self, counts: Sequence[FailedLogins]) -> None:
        async def remove_all(connection: AsyncConnection) -> None:
            for one in counts:
                is_it = (
                    _C.window_start == one.window,
                    _C.address_hash == one.address_hash,
                    _C.subject == one.subject,
                )
                await connection.execute(delete(FAILED_LOGINS).where(*is_it))

        with _translate_errors():
            await self._database.write(remove_all)
