"""The vault in the database of the log: in one transaction with it, and what is left of a key."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from events.database.connection import Database
from events.database.tables import KEYS
from events.log.sql.log import SqlLog
from events.vault.sql import SqlVault
from tests.events.log_helpers import at_end, in_event_loop, some_lines
from tests.events.rows import Server, open_sql_log, wait_until
from tests.events.stores import Rows
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL


@in_event_loop
async def test_a_key_is_there_with_the_lines_or_not_at_all(url: str, tmp_path: Path) -> None:
    database = await Database.open(url)
    at_end(database.close)
    log, vault = await SqlLog.open(database, tmp_path / "mark"), SqlVault(database)
    at_end(log.close)
    other = await Rows(url, tmp_path).open_vault()
    at_end(other.close)

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


@in_event_loop
async def test_a_key_put_under_the_lock_is_kept_though_nothing_is_appended(
    url: str, tmp_path: Path
) -> None:
    database = await Database.open(url)
    at_end(database.close)
    log, vault = await SqlLog.open(database, tmp_path / "mark"), SqlVault(database)
    at_end(log.close)
    async with log.exclusive(1):
        await vault.put({"log": b"k" * 32})
    assert await vault.all() == {"log": b"k" * 32}


@in_event_loop
async def test_no_statement_has_more_keys_than_it_may(url: str) -> None:
    """However many are put: a statement has only so long, and a log that moves has all its users'."""
    database = await Database.open(url)
    at_end(database.close)
    vault = SqlVault(database)
    rows: list[int] = []

    def note(*args: Any) -> None:
        rows.append(len(args[3]))

    sqlalchemy.event.listen(database.writing.sync_engine, "before_cursor_execute", note)
    old = {f"users/{number}": b"o" * 32 for number in range(600)}
    new = {f"users/{number}": b"n" * 32 for number in range(1_300)}
    await vault.put(old)
    await vault.put(new)
    assert await vault.all() == new
    assert max(rows) == 500


# What is left of a key


def on_disk(server: Server, url: str, key: bytes) -> bool:
    """Whether a key is in the file of the table, with all that was written to it."""
    name = url.rpartition("/")[2]
    if isinstance(server, PostgreSQL):
        file = server.sql("CHECKPOINT; SELECT pg_relation_filepath('eventapi_keys')", name)
        return key in (server.data / file).read_bytes()
    server.sql(f"FLUSH TABLES {name}.eventapi_keys FOR EXPORT; UNLOCK TABLES")
    return key in (server.data / name / "eventapi_keys.ibd").read_bytes()


@pytest.mark.long
@in_event_loop
async def test_a_destroyed_key_leaves_postgresql_once_nobody_may_see_it_any_more(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is under way at another server may, and a vacuum then passes over it."""
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 600)  # The batch stays under way.
    url, key = postgresql.new_database(), bytes(range(100, 132))
    log, other = (
        await open_sql_log(url, tmp_path / "log"),
        await open_sql_log(url, tmp_path / "other"),
    )
    vault = SqlVault(log.database)
    await vault.put({"users/1": key})
    async with other.exclusive(1):
        await vault.destroy(["users/1"])
        assert on_disk(postgresql, url, key)
    await wait_until(lambda: not on_disk(postgresql, url, key))


class Deleting(SqlVault):
    """A planted bug: the row is deleted, and what becomes of its bytes is the database's to say."""

    async def destroy(self, subjects: Collection[str]) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(KEYS.delete().where(KEYS.c.subject.in_(subjects)))


async def destroy_one(
    kind: type[SqlVault], server: Server, url: str
) -> tuple[Callable[[], bool], Callable[[], bool]]:
    """Destroy one of two keys; asks whether it, and the other, are on the disk."""
    database = await Database.open(url)
    at_end(database.close)
    vault = kind(database)
    gone, kept = random.randbytes(32), random.randbytes(32)
    await vault.put({"users/1": gone, "users/2": kept})
    assert on_disk(server, url, gone)
    await vault.destroy(["users/1"])
    assert await vault.all() == {"users/2": kept}
    return lambda: on_disk(server, url, gone), lambda: on_disk(server, url, kept)


@in_event_loop
async def test_a_destroyed_key_leaves_the_file_of_the_table(server: Server, url: str) -> None:
    is_there, is_kept = await destroy_one(SqlVault, server, url)
    await wait_until(lambda: not is_there())
    assert is_kept()


@in_event_loop
async def test_control_a_key_whose_row_is_deleted_does_not(server: Server, url: str) -> None:
    database = await Database.open(url)
    at_end(database.close)
    async with database.reading.connect() as older:
        if isinstance(server, MariaDB):
            # Or the row is purged at a time that nobody knows.
            await older.execute(text("START TRANSACTION WITH CONSISTENT SNAPSHOT"))
        is_there, _ = await destroy_one(Deleting, server, url)
        assert is_there()


@in_event_loop
async def test_control_a_key_that_is_overwritten_and_not_vacuumed_does_not(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no(_: Database) -> None:
        pass

    monkeypatch.setattr(Database, "vacuum", no)
    is_there, _ = await destroy_one(SqlVault, postgresql, postgresql.new_database())
    assert is_there()
