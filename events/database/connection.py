"""A database that keeps a log and the keys to it: tables, connections, transactions, errors.

PostgreSQL by asyncpg, MySQL and MariaDB by asyncmy; SQLAlchemy makes one of the two. What differs
between the engines stands in this file and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import asyncpg
import sqlalchemy
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, Text, text
from sqlalchemy.dialects.mysql import BINARY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events.database.pooler import check_connection_is_own, refusal_of_pooler
from events.database.urls import database_fault
from events.errors import ConfigurationError, EventapiError, StorageFull
from events.io import startup as starting
from events.messages.errors import UNSAFE_DATABASE
from events.messages.server_log import DATABASE_AWAITED, NOT_VACUUMED, SYNC_BINLOG
from events.record import GENESIS

logger = logging.getLogger("events.database")

CONNECT_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 10
"""How long one statement may take, save where it waits for a lock; then the database is lost."""

LOCK_SECONDS: Final = 1
"""How long the database lets a statement wait for a lock; who wants to wait longer asks again.

To give up from here would leave a connection behind of which nobody knows what it does.
"""

IDLE_SECONDS: Final = 15
"""After so long the database takes the lock from a process that was stopped while it held it.

MySQL, other than MariaDB and PostgreSQL, knows no limit for transactions that stand still, but one
for connections: so it closes those that are not used for so long, and before use it is asked
whether one is still there.
"""

_RECYCLE_SECONDS: Final = 1800
"""Connections are not kept for longer: who is in between may forget them in silence."""

_RETRY_SECONDS: Final = 0.25

_CREATE_TRIES: Final = 5
_CREATE_PAUSE_SECONDS: Final = 0.1
"""How often making the tables is tried while other processes make them, too."""

_metadata = MetaData()
_32_BYTES = LargeBinary(32).with_variant(BINARY(32), "mysql", "mariadb")

EVENTS: Final = Table(
    "eventapi_events",
    _metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("line", LargeBinary(65_535), nullable=False),
)
"""One row per line, the bytes as they would stand in a file, without the newline."""

HEAD: Final = Table(
    "eventapi_head",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", _32_BYTES, nullable=False),
)
"""One row with the end of the log, and the lock on it: whoever appends holds that row."""

KEYS: Final = Table(
    "eventapi_keys",
    _metadata,
    Column("subject", String(64), primary_key=True),
    Column("key", _32_BYTES, nullable=False),
)
"""The vault: a key per user."""

SIGNING: Final = Table(
    "eventapi_signing",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("vkey", String(255), nullable=False),
    Column("place", String(255), nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("cosigned", Text, nullable=False),
)
"""One row with the verifier key of the log, the newest checkpoint, and where that was recorded."""

TOMBSTONES: Final = Table(
    "eventapi_erased",
    _metadata,
    Column("subject", String(64), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
)
"""Of every destroyed key the SHA-256, in hex; empty where it is unknown."""

_DRIVERS: Final = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
_DISK_FULL_CODES: Final = ("53100", 1021, 1114)
"""PostgreSQL's disk_full; MySQL's ER_DISK_FULL and ER_RECORD_FILE_FULL."""

_LOCK_TIMEOUT_CODES: Final = ("55P03", 1205)
"""PostgreSQL's lock_not_available; MySQL's ER_LOCK_WAIT_TIMEOUT."""

_NO_TLS: Final = re.compile(r"\[SSL: (?!CERTIFICATE_|\w*ALERT_|UNSUPPORTED_PROTOCOL)")
"""What asyncmy says of an answer that is no part of a handshake; alerts are."""

ERRORS: Final[tuple[type[Exception], ...]] = (
    SQLAlchemyError,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    EOFError,
)
"""Whatever the use of a database may raise; SQLAlchemy does not wrap all that the drivers have."""


class Database:
    """Connections to one database; `open` makes them.

    Reads go through ``reading``, where every statement stands for itself and sees all that is
    committed; transactions through `transaction`.
    """

    def __init__(self, url: str) -> None:
        """Raises `ConfigurationError` for an address that is none of a database we know."""
        self._url, options = _parse_url(url)
        self.is_postgresql = self._url.get_backend_name() == "postgresql"
        common: dict[str, Any] = {
            "connect_args": options,
            "pool_pre_ping": not self.is_postgresql,
            "pool_recycle": _RECYCLE_SECONDS,
            "pool_timeout": CONNECT_SECONDS,
        }
        self.reading: AsyncEngine = create_async_engine(
            self._url, isolation_level="AUTOCOMMIT", **common
        )
        self._writing: AsyncEngine = create_async_engine(
            self._url, isolation_level="READ COMMITTED", **common
        )
        self.current_transaction: AsyncConnection | None = None
        """The connection of a transaction in which whatever else is written takes part."""
        self._reason = "it has not answered yet"
        self.vacuum_until = 0.0
        """Till when, by the event loop's clock, what was destroyed is to be vacuumed."""

    @classmethod
    async def open(cls, url: str, patience: float = 0, *, begin: bool = True) -> Database:
        """Connect, and see that a commit is durable; with ``begin``, make the tables, too.

        A database that cannot be reached is tried again for so many seconds. Raises
        `ConfigurationError`.
        """
        database = cls(url)
        try:
            if not patience:
                await database._connect(patience, begin=begin)
                return database
            await starting.report_slow_start(
                database._connect(patience, begin=begin),
                lambda waited: starting.logger.warning(
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
        """Try until it answers; raises `ConfigurationError` if that takes longer than so many seconds."""
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
        """The address, without what is secret in it."""
        return str(self._url.set(drivername=self._url.get_backend_name(), query={}))

    async def _check(self) -> None:
        async with self.reading.connect() as connection:
            await (_check_postgresql if self.is_postgresql else _check_mysql)(connection)
        if self.is_postgresql:
            await check_connection_is_own(self.reading, self._writing)

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
        """Make the tables where there are none, and begin an empty log."""
        for _ in range(_CREATE_TRIES):
            # Another process may be making the same tables right now.
            with suppress(DBAPIError):
                async with self._writing.begin() as connection:
                    await connection.run_sync(_metadata.create_all)
                break
            await asyncio.sleep(_CREATE_PAUSE_SECONDS)
        with suppress(sqlalchemy.exc.IntegrityError):  # Or may have made the head.
            async with self._writing.begin() as connection:
                if (await connection.execute(sqlalchemy.select(HEAD.c.id))).first() is None:
                    await connection.execute(
                        HEAD.insert().values(id=1, position=0, hash=GENESIS),
                    )
        with suppress(sqlalchemy.exc.IntegrityError):  # Or the row of the signing key.
            async with self._writing.begin() as connection:
                if (await connection.execute(sqlalchemy.select(SIGNING.c.id))).first() is None:
                    await connection.execute(
                        SIGNING.insert().values(
                            id=1, vkey="", place="", checkpoint="", cosigned=""
                        ),
                    )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, or the joined one, which ends later."""
        if self.current_transaction is not None:
            yield self.current_transaction
            return
        async with self._writing.begin() as connection:
            yield connection

    async def insert_missing(
        self, connection: AsyncConnection, table: Table, rows: Sequence[dict[str, str]]
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

    def connection(self) -> AsyncConnection:
        """A connection, to be started and closed, that begins a transaction by itself."""
        return self._writing.connect()

    async def vacuum(self) -> None:
        """Have PostgreSQL remove the rows of keys that were overwritten, if that is still to be done."""
        if asyncio.get_running_loop().time() > self.vacuum_until:
            return
        try:
            async with self.reading.connect() as connection:
                await connection.execute(text(f"VACUUM {KEYS.name}"))
        except ERRORS as error:
            logger.warning(NOT_VACUUMED.fill(reason=reason_of(error)))

    @asynccontextmanager
    async def listen(
        self, connection: AsyncConnection, channel: str, heard: Callable[[str], None]
    ) -> AsyncIterator[None]:
        """While within, ``heard`` is called with what is said on a channel of PostgreSQL (NOTIFY).

        Then the connection is given up: whoever got it next would go on listening.
        """
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None  # noqa: S101 - for the type checker
        await raw.add_listener(channel, lambda *said: heard(said[-1]))
        try:
            yield
        finally:
            await connection.invalidate()

    async def close(self) -> None:
        """Close all connections."""
        for engine in (self.reading, self._writing):
            await engine.dispose()


_POSTGRESQL_PLACE: Final = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()), "
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), current_database()"
)
_MYSQL_UUID: Final = text("SHOW VARIABLES LIKE 'server_uuid'")
_MYSQL_CLUSTER: Final = text("SHOW STATUS LIKE 'wsrep_cluster_state_uuid'")
_MYSQL_PLACE: Final = text(
    "SELECT @@server_id, create_time FROM information_schema.tables "
    "WHERE table_schema = database() AND table_name = 'eventapi_signing'"
)


async def database_identity(connection: AsyncConnection) -> str:
    """What a dump, a replica or a promoted standby does not share with the database asked.

    PostgreSQL: the identifier of the cluster and its timeline, which a promotion and a point-in-time
    recovery change. MySQL and MariaDB: the server and when the table was made, or the cluster where
    Galera replicates. Of the copy of a whole data directory none of them knows.
    """
    if connection.dialect.name == "postgresql":
        return "/".join(map(str, (await connection.execute(_POSTGRESQL_PLACE)).one()))
    cluster = (await connection.execute(_MYSQL_CLUSTER)).first()
    if cluster is not None and cluster[1]:
        return f"galera/{cluster[1]}"
    server = (await connection.execute(_MYSQL_UUID)).first()
    number, made = (await connection.execute(_MYSQL_PLACE)).one()
    return f"{'' if server is None else server[1]}/{number}/{made}"


async def transaction_id(connection: AsyncConnection) -> str:
    """The number of the transaction under way, which PostgreSQL writes on every row it changes."""
    if connection.dialect.name != "postgresql":
        return ""
    return str(await connection.scalar(text("SELECT pg_current_xact_id()")))


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line, without the statement and its parameters."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    reason = error.orig if isinstance(error, DBAPIError) else error
    first, *_ = str(reason).splitlines() or [type(reason).__name__]
    if _NO_TLS.search(first):
        return f"it does not speak TLS, which its address demands: {first}"
    return first.rpartition("'>: ")[2] or type(reason).__name__


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a lock did not come in time."""
    return _has_code(error, _LOCK_TIMEOUT_CODES)


def _has_code(error: BaseException, codes: tuple[object, ...]) -> bool:
    original = error.orig if isinstance(error, DBAPIError) else None
    found = (getattr(original, "sqlstate", None), *getattr(original, "args", ())[:1])
    return any(code in codes for code in found)


@contextmanager
def translate_errors(unavailable: Callable[[str], EventapiError], what: str) -> Iterator[None]:
    """Around the use of a database: `StorageFull` and ``unavailable`` instead of its own errors."""
    try:
        yield
    except ERRORS as error:
        if _has_code(error, _DISK_FULL_CODES):
            raise StorageFull(f"no room for {what}: {reason_of(error)}") from error
        raise unavailable(f"{what} cannot be reached: {reason_of(error)}") from error


def _parse_url(url: str) -> tuple[sqlalchemy.URL, dict[str, Any]]:
    """The address as SQLAlchemy wants it, and what the driver wants to know."""
    if fault := database_fault(url):
        raise ConfigurationError(f"EVENTAPI_LOG: {fault}")
    parsed = sqlalchemy.make_url(url)
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.get_backend_name() == "postgresql":
        # Named as libpq names it, which is what people know.
        mode = parsed.query.get("sslmode")
        parsed = parsed.difference_update_query(["sslmode"])
        options: dict[str, Any] = {
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {
                "application_name": "eventapi",
                "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
                "lock_timeout": f"{LOCK_SECONDS}s",
                "tcp_keepalives_idle": f"{IDLE_SECONDS}",
            },
        }
        return parsed, options | ({"ssl": mode} if mode else {})
    wanted = parsed.query.get("ssl")
    parsed = parsed.difference_update_query(["ssl"])
    options = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": STATEMENT_SECONDS,
        # The second is for who is stopped in the middle of a statement.
        "init_command": f"SET SESSION wait_timeout = {IDLE_SECONDS}"
        f", net_read_timeout = {IDLE_SECONDS}"
        f", innodb_lock_wait_timeout = {LOCK_SECONDS}",
    }
    return parsed, options | ({"ssl": ssl.create_default_context()} if wanted == "true" else {})


async def _check_postgresql(connection: AsyncConnection) -> None:
    """A commit must be on the disk when it returns (PostgreSQL, chapter Reliability)."""
    for name, bad in (("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")):
        if (await connection.scalar(text(f"SHOW {name}"))) == bad:
            raise ConfigurationError(UNSAFE_DATABASE.fill(name=name, value=bad, good="on"))


async def _check_mysql(connection: AsyncConnection) -> None:
    """As above (InnoDB, innodb_flush_log_at_trx_commit)."""
    flushed = await connection.scalar(text("SELECT @@innodb_flush_log_at_trx_commit"))
    if flushed != 1:
        raise ConfigurationError(
            UNSAFE_DATABASE.fill(name="innodb_flush_log_at_trx_commit", value=flushed, good=1)
        )
    if await connection.scalar(text("SELECT @@log_bin AND @@sync_binlog != 1")):
        logger.warning(SYNC_BINLOG)
