"""A log whose appenders and readers use different nodes of a Galera cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from events.database.connection import Database
from events.errors import ConfigurationError, LogConflict, LogUnreachable, MissingEvents
from events.log.port import Head
from events.log.sql.log import SqlLog
from events.log.sql.outcome import is_committed
from events.log.sql.rows import insert_lines
from events.vault.sql import SqlVault
from tests.events.log_helpers import append, read_all, some_lines
from tests.events.rows import open_database, open_sql_log, wait_until
from tests.servers.galera import Cluster

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def database(galera: Cluster) -> Iterator[str]:
    """The name of an empty database; at the end all nodes are together."""
    yield galera.new_database()
    galera.wait_until_whole()


async def two_logs(
    galera: Cluster, database: str, index: Path, cleanup: AsyncExitStack
) -> tuple[SqlLog, SqlLog]:
    """The log at two nodes, with one commit index, as two workers of a server may have it."""
    first, second, _ = galera.nodes
    return (
        await open_sql_log(cleanup, first.url_of(database), index),
        await open_sql_log(cleanup, second.url_of(database), index),
    )


async def test_of_two_appenders_at_two_nodes_one_is_refused_and_may_repeat(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log, other = await two_logs(galera, database, tmp_path / "mark", cleanup)
    lines, head = some_lines(2)
    async with other.exclusive(5) as second:
        written = await append(log, 3)
        with pytest.raises(LogConflict):
            await second.append(lines, head)
    assert await read_all(other) == written
    written += await append(other, 2)
    assert await read_all(log) == written


async def test_a_certain_refusal_asks_for_no_outcome(
    galera: Cluster,
    database: str,
    tmp_path: Path,
    cleanup: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unexpected(_: Database, __: Head) -> bool:
        pytest.fail("the outcome was known")

    monkeypatch.setattr("events.log.sql.log.is_committed", unexpected)
    await test_of_two_appenders_at_two_nodes_one_is_refused_and_may_repeat(
        galera, database, tmp_path, cleanup
    )


@asynccontextmanager
async def lagging(galera: Cluster, number: int) -> AsyncIterator[None]:
    """Inside, a node receives what others commit, and does not apply it."""
    url = sqlalchemy.make_url(galera.nodes[number].url).set(
        drivername="mysql+asyncmy", username="lagging", password="lagging"
    )
    galera.nodes[number].sql(
        "CREATE USER IF NOT EXISTS lagging@'127.0.0.1' IDENTIFIED BY 'lagging';"
        "GRANT RELOAD ON *.* TO lagging@'127.0.0.1'; GRANT ALL ON eventapi.* TO lagging@'127.0.0.1'"
    )
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text("FLUSH TABLES WITH READ LOCK"))
        try:
            yield
        finally:
            await connection.execute(sqlalchemy.text("UNLOCK TABLES"))
    await engine.dispose()


async def test_a_read_waits_for_a_node_that_lags_behind(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log, other = await two_logs(galera, database, tmp_path / "mark", cleanup)
    async with lagging(galera, 1):
        lines = await append(log, 3)
        assert other.position == 3
        reading = asyncio.create_task(read_all(other))
        done, _ = await asyncio.wait([reading], timeout=0.5)
        assert not done
    assert await reading == lines


async def test_control_without_the_wait_a_lagging_node_seems_to_have_lost_events(
    galera: Cluster,
    database: str,
    tmp_path: Path,
    cleanup: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "events.database.galera._WAIT_FOR_NEWEST", "SET SESSION wsrep_sync_wait = 0"
    )
    log, other = await two_logs(galera, database, tmp_path / "mark", cleanup)
    async with lagging(galera, 1):
        await append(log, 3)
        with pytest.raises(MissingEvents):
            await read_all(other)


async def append_after_a_lost_answer(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> bool:
    """Ask another node for the outcome of a transaction that still runs, and let it commit.

    Returns whether it was committed, after the answer was that it is not.
    """
    first, second, _ = galera.nodes
    log = await open_sql_log(cleanup, first.url_of(database), tmp_path / "mark")
    elsewhere = await open_database(cleanup, second.url_of(database))
    lines, head = some_lines(2)
    async with log.database.connection() as running:
        await insert_lines(running, lines, head, is_postgresql=False)
        assert not await is_committed(elsewhere, head)
        try:
            await running.commit()
        except sqlalchemy.exc.DBAPIError:
            await running.rollback()
    return await read_all(await open_sql_log(cleanup, first.url_of(database), tmp_path / "m")) != []


async def test_a_write_that_was_reported_as_lost_is_never_committed_later(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    assert not await append_after_a_lost_answer(galera, database, tmp_path, cleanup)


async def test_control_without_a_rewritten_head_a_lost_write_is_committed_later(
    galera: Cluster,
    database: str,
    tmp_path: Path,
    cleanup: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def keep(_: object, __: Head) -> None:
        return

    monkeypatch.setattr("events.log.sql.outcome.rewrite_head", keep)
    assert await append_after_a_lost_answer(galera, database, tmp_path, cleanup)


async def test_a_node_that_is_cut_off_refuses_and_is_left_for_the_next_host(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    alone = await open_sql_log(cleanup, galera.nodes[2].url_of(database), tmp_path / "mark")
    several = await open_sql_log(cleanup, galera.url_from(2, database), tmp_path / "mark")
    lines = await append(several, 2)
    galera.nodes[2].isolate()
    try:
        await wait_until(lambda: alone.lost_for > 0)
        with pytest.raises(LogUnreachable):
            await append(alone)
        await wait_until(lambda: several.lost_for == 0)
        lines += await append(several, 3)
        assert await read_all(several) == lines
    finally:
        galera.nodes[2].isolate(is_isolated=False)
    galera.wait_until_whole()
    await wait_until(lambda: alone.lost_for == 0)
    assert await read_all(alone) == lines


async def test_a_node_that_applies_nothing_is_left_for_the_next_host(
    galera: Cluster,
    database: str,
    tmp_path: Path,
    cleanup: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is `wsrep_ready`, as a donor may be."""
    log = await open_sql_log(cleanup, galera.nodes[0].url_of(database), tmp_path / "mark")
    monkeypatch.setattr("events.database.hosts.CONNECT_SECONDS", 1)
    async with lagging(galera, 1):
        lines = await append(log, 3)
        other = await open_sql_log(cleanup, galera.url_from(1, database), tmp_path / "other")
        assert await read_all(other) == lines


async def test_a_node_whose_commits_are_not_durable_is_left_for_the_next_host(
    galera: Cluster, database: str, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    unsafe = galera.nodes[1]
    unsafe.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with pytest.raises(ConfigurationError, match="innodb_flush_log_at_trx_commit"):
            await open_database(cleanup, unsafe.url_of(database))
        log = await open_sql_log(cleanup, galera.url_from(1, database), tmp_path / "mark")
        await append(log, 1)
        async with log.database.connection() as connection:
            port = await connection.scalar(sqlalchemy.text("SELECT @@port"))
        assert port != unsafe.port
    finally:
        unsafe.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


async def test_keys_destroyed_at_several_nodes_at_once_are_all_destroyed(
    galera: Cluster, database: str, cleanup: AsyncExitStack
) -> None:
    """All of them change the same rows, so that only one transaction at a time is accepted."""
    vaults = [
        SqlVault(await open_database(cleanup, node.url_of(database))) for node in galera.nodes
    ]
    subjects = [f"users/{number}" for number in range(5)]
    await vaults[0].put(dict.fromkeys(subjects, bytes(range(32))))
    await asyncio.gather(*(vault.destroy(subjects) for vault in vaults * 3))
    for vault in vaults:
        assert await vault.all() == {}
        assert (await vault.tombstones()).keys() == set(subjects)


async def test_instances_at_several_nodes_create_the_tables_at_once(
    galera: Cluster, database: str, cleanup: AsyncExitStack
) -> None:
    urls = [node.url_of(database) for node in galera.nodes]
    opened = await asyncio.gather(*(Database.open(url) for url in urls * 3))
    for one in opened:
        cleanup.push_async_callback(one.close)
    assert all(await asyncio.gather(*(one.has_log() for one in opened)))
