"""Connections to the database of a log and its vault, and their transactions.

SQLAlchemy hides most differences between PostgreSQL, MySQL and MariaDB. The code that handles the
rest is in this package, and in `events.log.sql.rows`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import ExceptionContext, Table, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events.database.drivers import COMMIT_SECONDS, CONNECT_SECONDS, parse_url
from events.database.durability import check_commits_are_durable
from events.database.failures import (
    ERRORS,
    NOT_READY_CODES,
    has_code,
    is_conflict,
    reason_of,
    translate_conflicts,
)
from events.database.hosts import Check, Hosts
from events.database.pooler import check_connection_is_own, refusal_of_pooler
from events.database.tables import HEAD, KEYS, create_tables
from events.database.urls import mask_url, split_hosts
from events.errors import ConfigurationError
from events.io import startup
from events.messages.server_log import DATABASE_AWAITED, NOT_VACUUMED

logger = logging.getLogger("events.database")

_Result = TypeVar("_Result")

_RECYCLE_SECONDS: Final = 1800
"""The age at which a connection is replaced: a firewall may drop an older one without notice."""

_RETRY_SECONDS: Final = 0.25

_CONFLICT_SECONDS: Final = 5.0
"""How long a transaction is repeated that others make fail."""


class Database:
    """Connections to one database; use `open` to make them.

    Reads use ``reading``, where every statement is a transaction of its own and sees everything
    that is committed. Writes use `write`.
    """

    def __init__(self, url: str, *, writable: bool = True) -> None:
        """Parse the URL and connect to nothing yet; raises `ConfigurationError`.

        With ``writable``, no host of PostgreSQL is used that refuses writes, such as a standby.
        """
        parsed, arguments = parse_url(url, writable=writable)
        self._address, _, _ = mask_url(url).partition("?")
        self.is_postgresql = parsed.get_backend_name() == "postgresql"
        self._hosts = Hosts(split_hosts(url)[1], arguments, is_postgresql=self.is_postgresql)
        common: dict[str, Any] = {
            "async_creator": self._hosts.connect,
            "pool_pre_ping": not self.is_postgresql,
            # asyncmy would send a second ROLLBACK, and log a traceback if the server is gone.
            "pool_reset_on_return": "rollback" if self.is_postgresql else None,
            "pool_recycle": _RECYCLE_SECONDS,
            "pool_timeout": CONNECT_SECONDS,
        }
        self.reading: AsyncEngine = create_async_engine(
            parsed, isolation_level="AUTOCOMMIT", **common
        )
        self.writing: AsyncEngine = create_async_engine(
            parsed, isolation_level="READ COMMITTED", **common
        )
        for engine in (self.reading, self.writing):
            event.listen(engine.sync_engine, "handle_error", _leave_node_that_is_not_ready)
        self.current_transaction: AsyncConnection | None = None
        """The transaction under the log's lock, which other writes of this process join."""
        self.vacuum_until = 0.0
        """Until when to vacuum destroyed keys again and again, by the event loop's clock."""
        self._reason = "it has not answered yet"

    @classmethod
    async def open(
        cls, url: str, patience: float = 0, *, begin: bool = True, writable: bool = True
    ) -> Database:
        """Connect and check that commits are durable; with ``begin``, create the tables.

        For ``patience`` seconds, an unreachable database is tried again. ``writable`` is as in the
        constructor. Raises `ConfigurationError`.
        """
        database = cls(url, writable=writable)
        try:
            if not patience:
                await database._connect(patience, begin=begin)
                return database
            await startup.report_slow_start(
                database._connect(patience, begin=begin),
                lambda waited: startup.logger.warning(
                    DATABASE_AWAITED.fill(
                        address=database, seconds=round(patience - waited), reason=database._reason
                    )
                ),
            )
        except BaseException:
            await database.close()
            raise
        return database

    async def _connect(self, patience: float, *, begin: bool) -> None:
        """Try to connect for ``patience`` seconds; raises `ConfigurationError`."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                await self._check()
                if begin:
                    await self.make_tables()
            except ERRORS as error:
                if refused := refusal_of_pooler(error):
                    raise ConfigurationError(refused) from error
                self._reason = reason_of(error)
                if asyncio.get_running_loop().time() >= deadline:
                    reason = f"the database {self} cannot be used: {self._reason}"
                    raise ConfigurationError(reason) from error
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def __str__(self) -> str:
        """Return the address without its secrets."""
        return self._address

    async def _check(self) -> None:
        async with self.reading.connect() as connection:
            await check_commits_are_durable(connection)
        if self.is_postgresql:
            await check_connection_is_own(self.reading, self.writing)

    async def has_log(self) -> bool:
        """Whether a log was begun here; raises `ConfigurationError`."""
        try:
            async with self.reading.connect() as connection:
                inspected = await connection.run_sync(sqlalchemy.inspect)
                if not await connection.run_sync(lambda _: inspected.has_table(HEAD.name)):
                    return False
                return (await connection.execute(sqlalchemy.select(HEAD.c.id))).first() is not None
        except ERRORS as error:
            reason = f"the database {self} cannot be used: {reason_of(error)}"
            raise ConfigurationError(reason) from error

    async def make_tables(self) -> None:
        """Create the missing tables, and begin an empty log if there is none."""
        await create_tables(self.writing)

    async def write(
        self, work: Callable[[AsyncConnection], Awaitable[_Result]], *, joins: bool = False
    ) -> _Result:
        """Execute statements in a transaction, and again if another one was first.

        With ``joins`` they belong to the current transaction, if there is one. Only the caller can
        repeat that, so then a conflict raises `LogConflict`.
        """
        if joins and self.current_transaction is not None:
            with translate_conflicts():
                return await work(self.current_transaction)
        deadline = asyncio.get_running_loop().time() + _CONFLICT_SECONDS
        while True:
            try:
                async with self.writing.begin() as connection:
                    return await work(connection)
            except ERRORS as error:
                if not is_conflict(error) or asyncio.get_running_loop().time() >= deadline:
                    raise

    async def insert_missing(
        self, connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert rows, apart from those whose primary key exists."""
        if not rows:
            return
        insert = (
            postgresql_insert(table).on_conflict_do_nothing()
            if self.is_postgresql
            else table.insert().prefix_with("IGNORE")
        )
        await connection.execute(insert, rows)

    async def require(self, check: Check | None) -> None:
        """Use only hosts of PostgreSQL that pass a check, on new connections."""
        self._hosts.check = check
        if self.is_postgresql and check is not None:
            await self.close()

    async def commit(self, connection: AsyncConnection) -> None:
        """Commit; a COMMIT that takes too long is abandoned, and never cancelled.

        While PostgreSQL waits for a synchronous standby, a cancelled COMMIT takes effect without
        the standby. An abandoned one stays invisible, and keeps its locks, until the standby has
        it.
        """
        if not self.is_postgresql:
            await connection.commit()
            return
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None  # noqa: S101 - for the type checker
        timer = asyncio.get_running_loop().call_later(COMMIT_SECONDS, raw.terminate)
        try:
            await connection.commit()
        finally:
            timer.cancel()

    def connection(self) -> AsyncConnection:
        """Return an unstarted connection; its first statement begins a transaction."""
        return self.writing.connect()

    async def vacuum(self) -> None:
        """Remove the old versions of destroyed keys from PostgreSQL, until `vacuum_until`."""
        if asyncio.get_running_loop().time() > self.vacuum_until:
            return
        try:
            async with self.reading.connect() as connection:
                await connection.execute(text(f"VACUUM {KEYS.name}"))
        except ERRORS as error:
            logger.warning(NOT_VACUUMED.fill(reason=reason_of(error)))

    @asynccontextmanager
    async def listen(
        self, connection: AsyncConnection, channel: str, on_notify: Callable[[str], None]
    ) -> AsyncIterator[None]:
        """Inside, call ``on_notify`` with each NOTIFY payload of a PostgreSQL channel.

        At the end the connection is closed, because in the pool it would go on listening.
        """
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None  # noqa: S101 - for the type checker
        await raw.add_listener(channel, lambda *arguments: on_notify(arguments[-1]))
        try:
            yield
        finally:
            await connection.invalidate()

    async def close(self) -> None:
        """Close all connections."""
        for engine in (self.reading, self.writing):
            await engine.dispose()


def _leave_node_that_is_not_ready(context: ExceptionContext) -> None:
    """Close connections to a node of Galera that refuses all statements."""
    if has_code(context.sqlalchemy_exception or Exception(), NOT_READY_CODES):
        context.is_disconnect = True
