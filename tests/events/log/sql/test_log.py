"""A log in a database: other machines, lost connections, lost events."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
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
from events.log.sql.rows import head_of
from tests.events.log_helpers import append, read_all, some_lines
from tests.events.proxy import Cut, open_proxy
from tests.events.rows import Server, open_sql_log, wait_until, with_port
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

# The drivers leave lost connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


async def _edit(url: str, *statements: sqlalchemy.Executable) -> None:
    database = await Database.open(url)
    async with database.writing.begin() as connection:
        for statement in statements:
            await connection.execute(statement)
    await database.close()


# Other machines


async def test_another_machine_is_notified_of_an_append(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    here, there = (
        await open_sql_log(cleanup, url, tmp_path / "here"),
        await open_sql_log(cleanup, url, tmp_path / "there"),
    )
    lines = await append(here, 3)
    await wait_until(lambda: there.position == 3)
    assert await read_all(there) == lines


async def test_logs_in_two_schemas_ignore_each_others_notifications(
    postgresql: PostgreSQL, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    """The channel is one for the whole database."""
    url = postgresql.new_database()
    postgresql.sql("CREATE SCHEMA other AUTHORIZATION eventapi", url.rpartition("/")[2])
    one = await open_sql_log(cleanup, url, tmp_path / "one")
    await append(one, 3)  # Opens the connection of its writes, which keeps its schema.
    role = "ALTER ROLE eventapi IN DATABASE {} SET search_path = other"
    postgresql.sql(role.format(url.rpartition("/")[2]))
    other = await open_sql_log(cleanup, url, tmp_path / "other")
    await append(one, 2)
    lines = await append(other, 2)
    await asyncio.sleep(0.1)
    assert (one.position, other.position) == (5, 2)
    assert await read_all(other) == lines


async def test_appends_of_two_machines_make_one_dense_chain(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    logs = [await open_sql_log(cleanup, url, tmp_path / name) for name in ("one", "two")]
    written = await asyncio.gather(*(append(log, 2) for log in logs for _ in range(10)))
    await wait_until(lambda: all(log.position == 40 for log in logs))
    lines = await read_all(logs[0])
    assert sorted(lines) == sorted(line for lines in written for line in lines)


@pytest.mark.parametrize(
    "payload", ["", "stray", "public x y", "public 7 zz", f"public -1 {'0' * 64}"]
)
async def test_a_foreign_notification_on_the_channel_is_ignored(
    postgresql: PostgreSQL, tmp_path: Path, payload: str, cleanup: AsyncExitStack
) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    url = postgresql.new_database()
    here, there = (
        await open_sql_log(cleanup, url, tmp_path / "here"),
        await open_sql_log(cleanup, url, tmp_path / "there"),
    )
    await append(here)
    await wait_until(lambda: there.position == 1)
    postgresql.sql(f"NOTIFY eventapi_head, '{payload}'", url.rpartition("/")[2])
    lines = await append(here)
    await wait_until(lambda: there.position == 2)
    assert (await read_all(there, 1), errors) == (lines, [])


# A COMMIT of unknown outcome


async def _append_while_cut(
    cleanup: AsyncExitStack, url: str, server: Server, tmp_path: Path, cut: Cut
) -> tuple[SqlLog, list[bytes] | Exception, list[bytes]]:
    """Append with a cut COMMIT; return the log, the outcome and the stored lines."""
    async with open_proxy("127.0.0.1", server.port) as proxy:
        log = await open_sql_log(cleanup, with_port(url, proxy.port), tmp_path / "mark")
        before = await append(log, 2)
        proxy.cut = cut
        outcome: list[bytes] | Exception
        try:
            outcome = await append(log, 3)
        except LogUnavailable as error:
            outcome = error
        other = await open_sql_log(cleanup, url, tmp_path / "other")
        stored = await read_all(other)
        assert stored[:2] == before
        more = await append(log, 1)
        assert await read_all(log) == [*stored, *more]
        return log, outcome, stored[2:]


async def test_a_commit_whose_answer_is_lost_is_reported_as_committed(
    url: str, server: Server, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    _, outcome, stored = await _append_while_cut(cleanup, url, server, tmp_path, "after")
    assert outcome == stored
    assert len(stored) == 3


async def test_a_commit_that_never_arrived_is_refused_and_not_stored(
    url: str, server: Server, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    _, outcome, stored = await _append_while_cut(cleanup, url, server, tmp_path, "before")
    assert isinstance(outcome, LogUnavailable)
    assert stored == []


async def test_control_without_the_check_a_stored_commit_is_reported_as_failed(
    url: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cleanup: AsyncExitStack,
) -> None:
    async def never(_: Database, __: Head) -> bool:
        return False

    monkeypatch.setattr("events.log.sql.log.is_committed", never)
    _, outcome, stored = await _append_while_cut(cleanup, url, server, tmp_path, "after")
    assert isinstance(outcome, LogUnavailable)
    assert len(stored) == 3


# An unreachable database


@pytest.mark.long
async def test_a_killed_database_is_reported_as_lost_until_it_is_back(
    url: str, server: Server, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
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
async def test_an_append_waits_for_a_restarting_database(
    url: str, server: Server, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
    server.kill()
    appending = asyncio.create_task(append(log, 2, timeout=60))
    await asyncio.to_thread(server.start)
    lines = await appending
    await wait_until(lambda: not log.lost_for)
    assert await read_all(log) == lines


async def test_an_idle_process_loses_the_lock(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    url = server.new_database()
    idle, other = (
        await open_sql_log(cleanup, url, tmp_path / "idle"),
        await open_sql_log(cleanup, url, tmp_path / "other"),
    )

    async def stay_idle() -> None:
        async with idle.exclusive(1) as appender:
            # The lock is not free until the idle transaction times out.
            written = await append(other, 2)
            assert await read_all(other) == written
            await appender.append(*some_lines(3))

    with pytest.raises(LogUnavailable):
        await stay_idle()
    assert other.position == 2


async def _append_after_idling(
    cleanup: AsyncExitStack, mariadb: MariaDB, url: str, index: Path
) -> None:
    """Append without a retry after the server closed all idle connections."""
    log = await open_sql_log(cleanup, url, index)
    await append(log)
    name = url.rpartition("/")[2]
    query = f"SELECT count(*) FROM information_schema.processlist WHERE db = '{name}'"
    # The connection that polls the head is never idle.
    await wait_until(lambda: mariadb.sql(query) == "1")
    async with log.exclusive(0.04) as appender:
        await appender.append(*some_lines(1, appender.head))


async def test_connections_closed_for_being_idle_are_replaced_before_use(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    await _append_after_idling(cleanup, mariadb, mariadb.new_database(), tmp_path / "mark")


async def test_control_without_a_ping_closed_connections_are_used(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    def without_ping(*args: Any, **options: Any) -> AsyncEngine:
        return create_async_engine(*args, **options | {"pool_pre_ping": False})

    monkeypatch.setattr("events.database.drivers.IDLE_SECONDS", 1)
    monkeypatch.setattr("events.database.connection.create_async_engine", without_ping)
    with pytest.raises(LogUnreachable):
        await _append_after_idling(cleanup, mariadb, mariadb.new_database(), tmp_path / "mark")


# Many lines at once


async def test_a_large_append_is_split_into_statements_of_limited_size(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    limit, longest = 5_000, 2_000
    monkeypatch.setattr("events.log.sql.rows.STATEMENT_BYTES", limit)
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
    sizes: list[int] = []

    def record(*args: Any) -> None:
        sizes.append(len(repr(args[3])))

    sqlalchemy.event.listen(log.database.writing.sync_engine, "before_cursor_execute", record)
    lines = await append(log, 30, size=1_000)
    assert max(map(len, lines)) <= longest
    assert sum(sizes) > 5 * limit
    assert max(sizes) < 2 * (limit + longest)
    assert await read_all(log) == lines
    lines += await append(log, 2)
    assert await read_all(log) == lines


# A database that was changed


async def test_a_database_that_lost_acknowledged_events_is_refused(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
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
        await open_sql_log(cleanup, url, tmp_path / "mark")
    assert f"rm {tmp_path / 'mark'}" in refused.value.message.next
    elsewhere = await open_sql_log(cleanup, url, tmp_path / "another machine")
    assert await read_all(elsewhere) == first


async def test_events_that_another_node_publishes_during_the_lock_are_not_lost(
    url: str, tmp_path: Path, cleanup: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Galera, whose row locks exclude only the transactions of one node."""
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
    await append(log, 2)
    await wait_until(lambda: not log.lost_for)

    async def publish_meanwhile(*arguments: Any) -> Head:
        head = await head_of(*arguments)
        log._commit_index.publish(0, Head(3, bytes(32)))
        return head

    monkeypatch.setattr("events.log.sql.log.head_of", publish_meanwhile)
    async with log.exclusive(5) as appender:
        assert (appender.head.position, log.position) == (2, 3)


async def test_another_log_of_the_same_length_is_refused(
    url: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
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
        await open_sql_log(cleanup, url, tmp_path / "mark")


async def test_a_missing_row_is_reported(url: str, tmp_path: Path, cleanup: AsyncExitStack) -> None:
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
    lines = await append(log, 5)
    await _edit(url, EVENTS.delete().where(EVENTS.c.position == 3))
    with pytest.raises(MissingEvents, match="position 3"):
        await read_all(log)
    assert await read_all(log, 3) == lines[3:]


async def test_a_forged_notification_of_a_later_head_stops_the_log(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    """So no other program may connect to the database, as the operating guide demands."""
    monkeypatch.setattr("events.log.sql.log._HEARTBEAT_SECONDS", 0.01)
    url = postgresql.new_database()
    log = await open_sql_log(cleanup, url, tmp_path / "mark")
    await append(log)
    await wait_until(lambda: not log.lost_for)
    name = url.rpartition("/")[2]
    postgresql.sql(f"NOTIFY eventapi_head, 'public 9 {'0' * 64}'", name)
    await wait_until(lambda: log.lost_for > 0)
    with pytest.raises(MissingEvents):
        await append(log)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
async def test_a_postgresql_that_may_lose_commits_is_refused(
    postgresql: PostgreSQL, setting: str
) -> None:
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    postgresql.sql(f"ALTER DATABASE {name} SET {setting} = off")
    with pytest.raises(ConfigurationError, match=f"{setting} = off"):
        await Database.open(url)


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
async def test_an_unreachable_database_is_reported_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await Database.open(address)
    assert "127.0.0.1:1/x" in str(refused.value)
    assert "secret" not in str(refused.value)
