"""The vault in the log's database: joint transactions, and erasure on the disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from events.database.connection import Database
from events.database.tables import KEYS
from events.log.sql.log import SqlLog
from events.vault.sql import SqlVault
from tests.events.log_helpers import some_lines
from tests.events.rows import Server, open_database, open_sql_log, wait_until
from tests.events.stores import Rows
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL


async def test_a_key_is_committed_with_its_lines_or_not_at_all(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    database = await open_database(cleanup, url)
    log, vault = await SqlLog.open(database, tmp_path / "mark"), SqlVault(database)
    cleanup.push_async_callback(log.close)
    other = await Rows(url, tmp_path).open_vault()
    cleanup.push_async_callback(other.close)

    async def put_and_fail() -> None:
        async with log.exclusive(1):
            await vault.put({"users/1": b"k" * 32})
            assert await other.all() == {}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await put_and_fail()
    assert await other.all() == {}
    async with log.exclusive(1) as appender:
        await vault.put({"users/1": b"k" * 32})
        assert await other.all() == {}
        await appender.append(*some_lines(1))
        assert await other.all() == {"users/1": b"k" * 32}


async def test_a_key_stored_under_the_lock_is_committed_without_an_append(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    database = await open_database(cleanup, url)
    log, vault = await SqlLog.open(database, tmp_path / "mark"), SqlVault(database)
    cleanup.push_async_callback(log.close)
    async with log.exclusive(1):
        await vault.put({"log": b"k" * 32})
    assert await vault.all() == {"log": b"k" * 32}


async def test_a_large_put_is_split_into_statements_of_500_keys(
    url: str, cleanup: AsyncExitStack
) -> None:
    """Statements have a time limit, and a migration stores the keys of all users."""
    database = await open_database(cleanup, url)
    vault = SqlVault(database)
    rows: list[int] = []

    def record(*args: Any) -> None:
        rows.append(len(args[3]))

    sqlalchemy.event.listen(database.writing.sync_engine, "before_cursor_execute", record)
    old = {f"users/{number}": b"o" * 32 for number in range(600)}
    new = {f"users/{number}": b"n" * 32 for number in range(1_300)}
    await vault.put(old)
    await vault.put(new)
    assert await vault.all() == new
    assert max(rows) == 500


# Erasure of keys on the disk


def on_disk(server: Server, url: str, key: bytes) -> bool:
    """Whether a key is in the file of the table, after everything was flushed to it."""
    name = url.rpartition("/")[2]
    if isinstance(server, PostgreSQL):
        file = server.sql("CHECKPOINT; SELECT pg_relation_filepath('eventapi_keys')", name)
        return key in (server.data / file).read_bytes()
    server.sql(f"FLUSH TABLES {name}.eventapi_keys FOR EXPORT; UNLOCK TABLES")
    return key in (server.data / name / "eventapi_keys.ibd").read_bytes()


@pytest.mark.long
async def test_a_destroyed_key_leaves_postgresql_after_older_transactions_end(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    """A vacuum keeps a row that the batch of another server may still see."""
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 600)  # The batch stays under way.
    url, key = postgresql.new_database(), bytes(range(100, 132))
    log, other = (
        await open_sql_log(cleanup, url, tmp_path / "log"),
        await open_sql_log(cleanup, url, tmp_path / "other"),
    )
    vault = SqlVault(log.database)
    await vault.put({"users/1": key})
    async with other.exclusive(1):
        await vault.destroy(["users/1"])
        assert on_disk(postgresql, url, key)
    await wait_until(lambda: not on_disk(postgresql, url, key))


class DeletingVault(SqlVault):
    """A planted bug: the row is deleted instead of overwritten."""

    async def destroy(self, subjects: Collection[str]) -> None:
        async with self._database.writing.begin() as connection:
            await connection.execute(KEYS.delete().where(KEYS.c.subject.in_(subjects)))


async def destroy_one(
    cleanup: AsyncExitStack, kind: type[SqlVault], server: Server, url: str
) -> tuple[Callable[[], bool], Callable[[], bool]]:
    """Destroy one of two keys; return checks whether each is on the disk."""
    database = await open_database(cleanup, url)
    vault = kind(database)
    gone, kept = random.randbytes(32), random.randbytes(32)
    await vault.put({"users/1": gone, "users/2": kept})
    assert on_disk(server, url, gone)
    await vault.destroy(["users/1"])
    assert await vault.all() == {"users/2": kept}
    return lambda: on_disk(server, url, gone), lambda: on_disk(server, url, kept)


@pytest.mark.long
async def test_a_destroyed_key_leaves_the_file_of_the_table(
    server: Server, url: str, cleanup: AsyncExitStack
) -> None:
    is_there, is_kept = await destroy_one(cleanup, SqlVault, server, url)
    await wait_until(lambda: not is_there())
    assert is_kept()


@pytest.mark.long
async def test_control_a_deleted_row_leaves_the_key_in_the_file(
    server: Server, url: str, cleanup: AsyncExitStack
) -> None:
    database = await open_database(cleanup, url)
    async with database.reading.connect() as older:
        if isinstance(server, MariaDB):
            # Otherwise the row may be purged at any time.
            await older.execute(text("START TRANSACTION WITH CONSISTENT SNAPSHOT"))
        is_there, _ = await destroy_one(cleanup, DeletingVault, server, url)
        assert is_there()


async def test_control_without_a_vacuum_the_key_stays_in_the_file(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    async def skip(_: Database) -> None:
        pass

    monkeypatch.setattr(Database, "vacuum", skip)
    is_there, _ = await destroy_one(cleanup, SqlVault, postgresql, postgresql.new_database())
    assert is_there()
