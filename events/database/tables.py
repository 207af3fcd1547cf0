"""The tables of a log in a database, and their creation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import sqlalchemy
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import BINARY
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from events.database.failures import is_conflict
from events.record import GENESIS

_CREATE_ATTEMPTS: Final = 5
_CREATE_RETRY_SECONDS: Final = 0.1
"""Creating tables fails while another process creates them, so it is tried again."""

METADATA: Final = MetaData()
"""All tables."""
_32_BYTES = LargeBinary(32).with_variant(BINARY(32), "mysql", "mariadb")

EVENTS: Final = Table(
    "eventapi_events",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("line", LargeBinary(65_535), nullable=False),
)
"""One row a line, with the same bytes as in a file, without the newline."""

HEAD: Final = Table(
    "eventapi_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", _32_BYTES, nullable=False),
)
"""One row with the end of the log. It is also the lock: an appender locks this row."""

KEYS: Final = Table(
    "eventapi_keys",
    METADATA,
    Column("subject", String(64), primary_key=True),
    Column("key", _32_BYTES, nullable=False),
)
"""The vault: a key per user."""

SIGNING: Final = Table(
    "eventapi_signing",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("vkey", String(255), nullable=False),
    Column("place", String(255), nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("cosigned", Text, nullable=False),
)
"""One row: the log's verifier key, the newest checkpoint, and the database that recorded it."""

TOMBSTONES: Final = Table(
    "eventapi_erased",
    METADATA,
    Column("subject", String(64), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
)
"""The SHA-256 of every destroyed key, in hex; empty if it is unknown."""

FOLLOWERS: Final = Table(
    "eventapi_followers",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("failing_since", String(32), nullable=False),
    Column("status", String(255), nullable=False),
    Column("holder", String(64), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)
"""One row a follower: its progress (position -1 if none is stored), its holder, and until when."""

PARKED: Final = Table(
    "eventapi_parked",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("part", String(64), primary_key=True),
    Column("since", String(32), nullable=False),
    Column("due", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
)
"""One row a part of a record that the follower of that name tries again later."""

FAILED_LOGINS: Final = Table(
    "eventapi_failed_logins",
    METADATA,
    Column("window_start", String(32), primary_key=True),
    Column("address_hash", String(64), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("sealed", Text, nullable=False),
)
"""The counts of failed logins until they are in the log; subject and address as in the event."""

_FIRST_ROWS: Final[tuple[tuple[Table, dict[str, Any]], ...]] = (
    (HEAD, {"id": 1, "position": 0, "hash": GENESIS}),
    (SIGNING, {"id": 1, "vkey": "", "place": "", "checkpoint": "", "cosigned": ""}),
)
"""The one row of a table that has a single row."""


async def create_tables(engine: AsyncEngine) -> None:
    """Create the missing tables, and begin an empty log if there is none."""
    for _ in range(_CREATE_ATTEMPTS):
        with suppress(DBAPIError):
            async with engine.begin() as connection:
                await connection.run_sync(METADATA.create_all)
            break
        await asyncio.sleep(_CREATE_RETRY_SECONDS)
    for table, row in _FIRST_ROWS:
        for attempt in range(1, _CREATE_ATTEMPTS + 1):
            try:
                await _insert_if_empty(engine, table, row)
            except DBAPIError as error:
                if not is_conflict(error) or attempt == _CREATE_ATTEMPTS:
                    raise
                await asyncio.sleep(_CREATE_RETRY_SECONDS)
            else:
                break


async def _insert_if_empty(engine: AsyncEngine, table: Table, row: dict[str, Any]) -> None:
    with suppress(IntegrityError):  # Another process has just inserted it.
        async with engine.begin() as connection:
            if (await connection.execute(sqlalchemy.select(table.c.id))).first() is None:
                await connection.execute(table.insert().values(**row))
