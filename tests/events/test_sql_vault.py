"""The vault in the database of the log: in one transaction with it, and what is left of a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.database import Database
from events.log.sql import SqlLog
from events.vault.sql import SqlVault
from tests.events.rows import opened, until
from tests.events.stores import Rows
from tests.events.stories import at_end, in_event_loop, some_lines
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
async def test_a_destroyed_key_leaves_postgresql_once_nobody_may_see_it_any_more(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    """A batch that is under way at another server may, and a vacuum then passes over it."""
    url, key = postgresql.new_database(), bytes(range(100, 132))
    name = url.rpartition("/")[2]
    asked = (
        f"CHECKPOINT; SELECT position('\\x{key.hex()}'::bytea in "
        "pg_read_binary_file(pg_relation_filepath('eventapi_keys')))"
    )
    log, other = await opened(url, tmp_path / "log"), await opened(url, tmp_path / "other")
    vault = SqlVault(log._database)
    await vault.put({"users/1": key})
    async with other.exclusive(1):
        await vault.destroy(["users/1"])
        assert postgresql.sql(asked, name) != "0"
    await until(lambda: postgresql.sql(asked, name) == "0")
