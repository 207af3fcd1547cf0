"""Followers in the database of the log: a row for each one and each parked part.

The row names its holder and when the lease ends, by the clock of the database. The holder renews it
every few seconds. A process that is stopped or cut off does not, and another one takes the row over.
Every change names the holder, so what a former holder still writes changes nothing (fencing).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Update,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from eventapi.followers.port import Lease, Parked, Progress
from events.database.connection import Database
from events.database.failures import translate_errors
from events.database.tables import FOLLOWERS, PARKED
from events.errors import EventapiError, FollowersUnavailable, LeaseLost

LEASE_SECONDS: Final = 20
_RENEW_SECONDS: Final = 5.0
_STATUS_CHARACTERS: Final = 255
_NOTHING_STORED: Final = -1
"""The position of a row without progress."""

_translate_errors = partial(translate_errors, FollowersUnavailable, "the table of followers")


class SqlFollowers:
    """Rows of a table; safe for any number of processes on any number of machines."""

    def __init__(self, database: Database) -> None:
        """Use an open database, which the caller closes."""
        self.database = database

    @property
    def now(self) -> ColumnElement[int]:
        """The clock of the database, in seconds since 1970."""
        if self.database.is_postgresql:
            return cast(func.extract("epoch", func.clock_timestamp()), BigInteger)
        return func.unix_timestamp(type_=Integer)

    async def acquire(self, name: str) -> Lease | None:
        holder = secrets.token_hex(16)
        free = or_(FOLLOWERS.c.holder == "", FOLLOWERS.c.lease_until < self.now)
        taken = (
            update(FOLLOWERS)
            .where(FOLLOWERS.c.name == name, free)
            .values(holder=holder, lease_until=self.now + LEASE_SECONDS)
        )
        await self._make_row(name)
        begun = time.monotonic()
        count = await self.change(taken)
        return _SqlLease(self, name, holder, begun) if count else None

    async def _make_row(self, name: str) -> None:
        row = {"name": name, "hash": "", "failing_since": "", "status": "", "holder": ""}
        empty = {**row, "position": _NOTHING_STORED, "lease_until": 0}
        wanted = select(FOLLOWERS.c.name).where(FOLLOWERS.c.name == name)
        with _translate_errors():
            async with self.database.reading.connect() as connection:
                if (await connection.execute(wanted)).first() is not None:
                    return
            await self.database.write(
                lambda connection: self.database.insert_missing(connection, FOLLOWERS, [empty])
            )

    async def read(self, name: str) -> Progress | None:
        columns = [FOLLOWERS.c[field] for field in Progress.__struct_fields__]
        with _translate_errors():
            async with self.database.reading.connect() as connection:
                found = (
                    await connection.execute(select(*columns).where(FOLLOWERS.c.name == name))
                ).first()
        return None if found is None or found.position == _NOTHING_STORED else Progress(*found)

    async def remove(self, name: str) -> None:
        async def remove_rows(connection: AsyncConnection) -> None:
            for table in (FOLLOWERS, PARKED):
                await connection.execute(delete(table).where(table.c.name == name))

        with _translate_errors():
            await self.database.write(remove_rows)

    async def parked(self, name: str) -> Sequence[Parked]:
        """The parked parts of a follower."""
        columns = [PARKED.c[field] for field in Parked.__struct_fields__]
        with _translate_errors():
            async with self.database.reading.connect() as connection:
                rows = await connection.execute(select(*columns).where(PARKED.c.name == name))
                return [Parked(*row) for row in rows]

    async def close(self) -> None:
        pass

    async def change(self, changed: Update, *then: Executable) -> bool:
        """Execute an update; if it finds its row, execute the rest, and return true."""

        async def execute(connection: AsyncConnection) -> bool:
            found = bool((await connection.execute(changed)).rowcount)
            for statement in then if found else ():
                await connection.execute(statement)
            return found

        with _translate_errors():
            return await self.database.write(execute)


class _SqlLease:
    def __init__(self, store: SqlFollowers, name: str, holder: str, renewed: float) -> None:
        self._store = store
        self._name = name
        self._renewed = renewed
        self._mine = update(FOLLOWERS).where(FOLLOWERS.c.name == name, FOLLOWERS.c.holder == holder)

    async def read(self) -> Progress | None:
        return await self._store.read(self._name)

    async def store(self, progress: Progress) -> None:
        values = {
            "position": progress.position,
            "hash": progress.hash,
            "failing_since": progress.failing_since,
            "status": progress.status[:_STATUS_CHARACTERS],
        }
        await self._change(**values)

    async def parked(self) -> Sequence[Parked]:
        return await self._store.parked(self._name)

    async def park(self, parked: Parked) -> None:
        row = {"name": self._name, **msgspec.structs.asdict(parked)}
        await self._change(self._removal(parked), PARKED.insert().values(**row))

    async def unpark(self, parked: Parked) -> None:
        await self._change(self._removal(parked))

    def _removal(self, parked: Parked) -> Executable:
        columns = PARKED.c
        return delete(PARKED).where(
            columns.name == self._name,
            columns.position == parked.position,
            columns.part == parked.part,
        )

    async def _change(self, *then: Executable, **values: object) -> None:
        """Change the row of the follower and execute the rest; raises `LeaseLost`."""
        if not await self._renew(*then, **values):
            raise LeaseLost(f"the follower {self._name} has another holder")

    @property
    def _may_have_ended(self) -> bool:
        """Whether the lease may have ended, by the clock of this machine."""
        return time.monotonic() >= self._renewed + LEASE_SECONDS - 1

    def check(self) -> None:
        if self._may_have_ended:
            raise LeaseLost(f"the follower {self._name} may have another holder")

    async def keep(self) -> None:
        while not self._may_have_ended:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                async with asyncio.timeout(_RENEW_SECONDS):
                    if not await self._renew():
                        return
            except (FollowersUnavailable, TimeoutError):
                continue

    async def release(self) -> None:
        try:
            await self._store.change(self._mine.values(holder="", lease_until=0))
        except EventapiError:
            return  # The lease ends by itself.

    async def _renew(self, *then: Executable, **values: object) -> bool:
        begun = time.monotonic()
        until = self._store.now + LEASE_SECONDS
        found = await self._store.change(self._mine.values(lease_until=until, **values), *then)
        if found:
            self._renewed = begun
        return found
