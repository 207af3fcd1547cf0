"""What only a log in a database goes through: lost connections, other machines, older copies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from events.database.connection import Database
from events.database.tables import EVENTS, HEAD
from events.errors import (
    ConfigurationError,
    LogUnavailable,
    LogUnreachable,
    MissingEvents,
)
from events.log.port import Head
from events.log.sql.log import SqlLog
from tests.events.log_helpers import append, in_event_loop, read_all, some_lines
from tests.events.proxy import Cut, open_proxy
from tests.events.rows import Server, open_sql_log, wait_until, with_port
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

# The drivers leave it to the collector to close what was cut off.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


async def _edit(url: str, *statements: sqlalchemy.Executable) -> None:
    database = await Database.open(url)
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)
    await database.close()


# Other machines


@in_event_loop
async def test_another_machine_gets_to_know_of_an_append(url: str, tmp_path: Path) -> None:
    here, there = (
        await open_sql_log(url, tmp_path / "here"),
        await open_sql_log(url, tmp_path / "there"),
    )
    lines = await append(here, 3)
    await wait_until(lambda: there.position == 3)
    assert await read_all(there) == lines


@in_event_loop
async def test_two_logs_in_one_database_do_not_hear_each_other(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    """Their schemas differ, and the channel is one for the whole database."""
    url = postgresql.new_database()
    postgresql.sql("CREATE SCHEMA other AUTHORIZATION eventapi", url.rpartition("/")[2])
    one = await open_sql_log(url, tmp_path / "one")
    role = "ALTER ROLE eventapi IN DATABASE {} SET search_path = other"
    postgresql.sql(role.format(url.rpartition("/")[2]))
    other = await open_sql_log(url, tmp_path / "other")
    await append(one, 5)
    lines = await append(other, 2)
    await asyncio.sleep(0.1)
    assert (one.position, other.position) == (5, 2)
    assert await read_all(other) == lines


@in_event_loop
async def test_writers_on_two_machines_make_one_dense_chain(url: str, tmp_path: Path) -> None:
    logs = [await open_sql_log(url, tmp_path / name) for name in ("one", "two")]
    written = await asyncio.gather(*(append(log, 2) for log in logs for _ in range(10)))
    await wait_until(lambda: all(log.position == 40 for log in logs))
    lines = await read_all(logs[0])
    assert sorted(lines) == sorted(line for lines in written for line in lines)


@pytest.mark.parametrize(
    "word", ["", "stray", "public x y", "public 7 zz", f"public -1 {'0' * 64}"]
)
@in_event_loop
async def test_a_word_of_somebody_else_at_the_channel_does_no_harm(
    postgresql: PostgreSQL, tmp_path: Path, word: str
) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    url = postgresql.new_database()
    here, there = (
        await open_sql_log(url, tmp_path / "here"),
        await open_sql_log(url, tmp_path / "there"),
    )
    await append(here)
    await wait_until(lambda: there.position == 1)
    postgresql.sql(f"NOTIFY eventapi_head, '{word}'", url.rpartition("/")[2])
    lines = await append(here)
    await wait_until(lambda: there.position == 2)
    assert (await read_all(there, 1), errors) == (lines, [])


# A commit whose outcome is not told


async def _append_while_cut(
    url: str, server: Server, tmp_path: Path, cut: Cut
) -> tuple[SqlLog, list[bytes] | Exception, list[bytes]]:
    """An append whose COMMIT is cut, by one log; what became of it, and what stands there."""
    async with open_proxy("127.0.0.1", server.port) as way:
        log = await open_sql_log(with_port(url, way.port), tmp_path / "mark")
        before = await append(log, 2)
        way.cut = cut
        came: list[bytes] | Exception
        try:
            came = await append(log, 3)
        except LogUnavailable as error:
            came = error
        other = await open_sql_log(url, tmp_path / "other")
        there = await read_all(other)
        assert there[:2] == before
        more = await append(log, 1)
        assert await read_all(log) == [*there, *more]
        return log, came, there[2:]


@in_event_loop
async def test_a_commit_whose_answer_is_lost_is_found(
    url: str, server: Server, tmp_path: Path
) -> None:
    _, came, there = await _append_while_cut(url, server, tmp_path, "after")
    assert came == there
    assert len(there) == 3


@in_event_loop
async def test_a_commit_that_never_arrived_is_refused_and_not_there(
    url: str, server: Server, tmp_path: Path
) -> None:
    _, came, there = await _append_while_cut(url, server, tmp_path, "before")
    assert isinstance(came, LogUnavailable)
    assert there == []


@in_event_loop
async def test_control_who_does_not_look_calls_a_commit_failed_that_is_there(
    url: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no(_: SqlLog, __: Head) -> bool:
        return False

    monkeypatch.setattr(SqlLog, "_is_committed", no)
    _, came, there = await _append_while_cut(url, server, tmp_path, "after")
    assert isinstance(came, LogUnavailable)
    assert len(there) == 3


# A database that is lost


@pytest.mark.long
@in_event_loop
async def test_a_killed_database_is_lost_and_found_again(
    url: str, server: Server, tmp_path: Path
) -> None:
    log = await open_sql_log(url, tmp_path / "mark")
    lines = await append(log, 3)
    server.kill()
    try:
        await wait_until(lambda: log.lost_for > 0)
        assert log.position == 3
        with pytest.raises(LogUnreachable):
            await read_all(log)
        with pytest.raises(LogUnavailable):
            await append(log)
    finally:
        await asyncio.to_thread(server.start)
    await wait_until(lambda: not log.lost_for)
    assert await read_all(log) == lines
    assert await read_all(log, 3) == []
    lines += await append(log, 2)
    assert await read_all(log) == lines


@pytest.mark.long
@in_event_loop
async def test_who_appends_waits_for_a_database_that_is_soon_back(
    url: str, server: Server, tmp_path: Path
) -> None:
    log = await open_sql_log(url, tmp_path / "mark")
    server.kill()
    appending = asyncio.create_task(append(log, 2, timeout=60))
    await asyncio.to_thread(server.start)
    lines = await appending
    await wait_until(lambda: not log.lost_for)
    assert await read_all(log) == lines


@in_event_loop
async def test_who_stands_still_with_the_lock_loses_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    url = server.new_database()
    still, other = (
        await open_sql_log(url, tmp_path / "still"),
        await open_sql_log(url, tmp_path / "other"),
    )

    async def stand_still() -> None:
        async with still.exclusive(1) as appender:
            written = await append(other, 2)  # For a moment it is not free.
            assert await read_all(other) == written
            await appender.append(*some_lines(3))

    with pytest.raises(LogUnavailable):
        await stand_still()
    assert other.position == 2


async def _append_after_a_rest(mariadb: MariaDB, url: str, mark: Path) -> None:
    """Append when all connections that rested are closed; whatever fails fails at once."""
    log = await open_sql_log(url, mark)
    await append(log)
    name = url.rpartition("/")[2]
    asked = f"SELECT count(*) FROM information_schema.processlist WHERE db = '{name}'"
    # The one on which the end of the log is looked at does not rest.
    await wait_until(lambda: mariadb.sql(asked) == "1")
    async with log.exclusive(0.04) as appender:
        await appender.append(*some_lines(1, appender.head))


@in_event_loop
async def test_connections_that_were_closed_because_they_rested_are_not_missed(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    await _append_after_a_rest(mariadb, mariadb.new_database(), tmp_path / "mark")


@in_event_loop
async def test_control_whoever_does_not_ask_misses_them(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unasked(*args: Any, **options: Any) -> AsyncEngine:
        return create_async_engine(*args, **options | {"pool_pre_ping": False})

    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    monkeypatch.setattr("events.database.connection.create_async_engine", unasked)
    with pytest.raises(LogUnreachable):
        await _append_after_a_rest(mariadb, mariadb.new_database(), tmp_path / "mark")


# Many lines at once


@in_event_loop
async def test_no_statement_has_many_more_bytes_than_it_may(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, longest = 5_000, 2_000
    monkeypatch.setattr("events.log.sql.rows.STATEMENT_BYTES", limit)
    log = await open_sql_log(url, tmp_path / "mark")
    sizes: list[int] = []

    def note(*args: Any) -> None:
        sizes.append(len(repr(args[3])))

    sqlalchemy.event.listen(log.database.writing.sync_engine, "before_cursor_execute", note)
    lines = await append(log, 30, size=1_000)
    assert max(map(len, lines)) <= longest
    assert sum(sizes) > 5 * limit
    assert max(sizes) < 2 * (limit + longest)
    assert await read_all(log) == lines
    lines += await append(log, 2)
    assert await read_all(log) == lines


# A database that is not what it was


@in_event_loop
async def test_a_database_that_lost_acknowledged_events_is_not_served(
    url: str, tmp_path: Path
) -> None:
    log = await open_sql_log(url, tmp_path / "mark")
    first = await append(log, 2)
    earlier = log.head
    await append(log, 2)
    back = HEAD.update().values(position=2, hash=earlier.hash)
    await _edit(url, EVENTS.delete().where(EVENTS.c.position > 2), back)
    with pytest.raises(MissingEvents, match="4 events were acknowledged"):
        await append(log)
    await wait_until(lambda: log.lost_for > 0)
    assert log.position == 4
    with pytest.raises(MissingEvents) as refused:
        await open_sql_log(url, tmp_path / "mark")
    assert f"rm {tmp_path / 'mark'}" in refused.value.message.next
    elsewhere = await open_sql_log(url, tmp_path / "another machine, which never knew")
    assert await read_all(elsewhere) == first


@in_event_loop
async def test_another_log_of_the_same_length_is_not_served(url: str, tmp_path: Path) -> None:
    log = await open_sql_log(url, tmp_path / "mark")
    await append(log, 1)
    lines, head = some_lines(1, size=10)
    await _edit(
        url,
        EVENTS.update().values(line=lines[0]),
        HEAD.update().values(hash=head.hash),
    )
    with pytest.raises(MissingEvents):
        await append(log)
    with pytest.raises(MissingEvents):
        await open_sql_log(url, tmp_path / "mark")


@in_event_loop
async def test_a_row_that_is_gone_is_missed(url: str, tmp_path: Path) -> None:
    log = await open_sql_log(url, tmp_path / "mark")
    lines = await append(log, 5)
    await _edit(url, EVENTS.delete().where(EVENTS.c.position == 3))
    with pytest.raises(MissingEvents, match="position 3"):
        await read_all(log)
    assert await read_all(log, 3) == lines[3:]


@in_event_loop
async def test_a_false_word_of_an_end_that_is_not_there_is_not_served(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why nobody else is to connect to the database, as the operating guide says."""
    monkeypatch.setattr("events.log.sql.log._HEARTBEAT_SECONDS", 0.01)
    url = postgresql.new_database()
    log = await open_sql_log(url, tmp_path / "mark")
    await append(log)
    await wait_until(lambda: not log.lost_for)
    name = url.rpartition("/")[2]
    postgresql.sql(f"NOTIFY eventapi_head, 'public 9 {'0' * 64}'", name)
    await wait_until(lambda: log.lost_for > 0)
    with pytest.raises(MissingEvents):
        await append(log)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
@in_event_loop
async def test_a_database_that_may_lose_commits_is_refused(
    postgresql: PostgreSQL, setting: str
) -> None:
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    postgresql.sql(f"ALTER DATABASE {name} SET {setting} = off")
    with pytest.raises(ConfigurationError, match=f"{setting} = off"):
        await Database.open(url)


@in_event_loop
async def test_a_mariadb_that_may_lose_commits_is_refused(mariadb: MariaDB) -> None:
    mariadb.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with pytest.raises(ConfigurationError, match="innodb_flush_log_at_trx_commit = 2"):
            await Database.open(mariadb.new_database())
    finally:
        mariadb.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


@pytest.mark.parametrize(
    "address",
    ["postgresql://nobody:secret@127.0.0.1:1/x", "mysql://nobody:secret@127.0.0.1:1/x"],
)
@in_event_loop
async def test_a_database_that_is_not_there_is_told_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        await Database.open(address)
    assert "127.0.0.1:1/x" in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (
            "postgresql://u:p@h:1/d?sslrootcert=x",
            "only option of a postgresql:// address is sslmode",
        ),
        (
            "postgresql://u:p@h:1/d?sslmode=require&sslmode=disable",
            "is sslmode; give it at most once",
        ),
        ("mysql://u:p@h:1/d?ssl=true&ssl=true", "is ssl; give it at most once"),
        ("mysql://u:p@h:1/d?sslmode=require", "only option of a mysql:// address is ssl"),
        ("mysql://u:p@h:1/d?ssl=required", "the option ssl must be true"),
        ("mysql://u:p@h:1/", "postgresql://USER"),
        ("mysql://u:p@db..example:1/d", "postgresql://USER"),
        ("postgresql://u:p@h:99999/d", "postgresql://USER"),
    ],
)
def test_what_cannot_be_meant_in_an_address_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Database(address)


@pytest.mark.parametrize("address", ["oracle://x", "postgresql", "mysql+pymysql://x", "://"])
def test_an_address_of_no_database_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://USER"):
        Database(address)
