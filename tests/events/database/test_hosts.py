"""An address with several hosts: the first one that can be used is used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from events.database.connection import Database
from events.database.failures import ERRORS
from events.errors import ConfigurationError, MissingEvents
from events.log.sql.log import SqlLog
from tests.events.log_helpers import append, read_all
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.replication import Standby
from tests.servers.serving import serving

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A bound port that does not listen; no other process can use it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def standby(postgresql: PostgreSQL) -> Iterator[Standby]:
    """A standby of the shared server."""
    with serving(Standby(postgresql)) as server:
        yield server


@asynccontextmanager
async def silent_host() -> AsyncIterator[tuple[int, list[object]]]:
    """A port that accepts connections and never answers, and its connections so far."""
    seen: list[object] = []
    released = asyncio.Event()

    async def stay_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer)
        await released.wait()
        writer.close()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        released.set()
        server.close()


def address(database: str, *ports: int) -> str:
    """The address of a database on hosts with these ports."""
    login, _, rest = database.partition("@")
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"{login}@{hosts}/{rest.partition('/')[2]}"


async def used_port(database: Database) -> int:
    """The port of the host to which a new connection goes."""
    await database.close()
    async with database.reading.connect() as connection:
        found: int = (await connection.execute(text("SELECT inet_server_port()"))).scalar_one()
    return found


async def test_a_host_that_does_not_listen_is_skipped(
    postgresql: PostgreSQL, closed_port: int, tmp_path: Path
) -> None:
    url = address(postgresql.new_database(), closed_port, postgresql.port)
    database = await Database.open(f"{url}?target_session_attrs=read-write")
    log = await SqlLog.open(database, tmp_path / "mark")
    lines = await append(log, 3)
    assert await read_all(log) == lines
    await log.close()
    await database.close()


async def test_a_silent_host_delays_one_connection_and_then_comes_last(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.database.drivers.CONNECT_SECONDS", 2)
    async with silent_host() as (port, seen):
        database = await Database.open(address(postgresql.new_database(), port, postgresql.port))
        assert await used_port(database) == postgresql.port
        assert len(seen) == 1
        await database.close()


async def test_control_the_driver_never_tries_the_hosts_after_a_silent_one(
    postgresql: PostgreSQL,
) -> None:
    async with silent_host() as (port, _):
        url = address(postgresql.new_database(), port, postgresql.port)
        with pytest.raises(TimeoutError):
            await asyncpg.connect(url, timeout=2)


async def test_a_standby_is_left_for_the_host_that_accepts_writes(
    postgresql: PostgreSQL, standby: Standby
) -> None:
    database = await Database.open(address(postgresql.url, standby.port, postgresql.port))
    assert await used_port(database) == postgresql.port
    await database.close()


async def test_a_standby_alone_is_refused_for_writing_and_can_be_read(
    postgresql: PostgreSQL, standby: Standby
) -> None:
    url = address(postgresql.url, standby.port)
    with pytest.raises(ConfigurationError, match="it refuses writes: it is a standby"):
        await Database.open(url)
    with pytest.raises(ConfigurationError, match="it refuses writes: it is a standby"):
        await Database.open(f"{url}?target_session_attrs=read-write", begin=False, writable=False)
    database = await Database.open(url, begin=False, writable=False)
    assert await used_port(database) == standby.port
    await database.close()


async def test_each_unusable_host_is_named_in_one_line_without_the_password(
    postgresql: PostgreSQL, standby: Standby, closed_port: int
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await Database.open(address(postgresql.url, closed_port, standby.port))
    (line,) = str(refused.value.message.text).splitlines()
    assert f"127.0.0.1:{closed_port}: " in line
    assert f"127.0.0.1:{standby.port}: it refuses writes" in line
    assert "password" not in line


async def test_a_host_that_fails_the_check_is_left_for_the_next_one(
    postgresql: PostgreSQL, standby: Standby
) -> None:
    """Both are read here, so that only the check makes a difference."""
    database = Database(address(postgresql.url, standby.port, postgresql.port))
    database._hosts._arguments["target_session_attrs"] = "any"
    assert await used_port(database) == standby.port

    async def refuse_standby(connection: Any) -> None:
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            raise MissingEvents("it lacks events", position=1, offset=0)

    await database.require(refuse_standby)
    assert await used_port(database) == postgresql.port
    assert await used_port(database) == postgresql.port
    await database.close()


async def test_every_use_of_a_database_that_lost_events_fails_as_if_it_were_away(
    postgresql: PostgreSQL,
) -> None:
    """Followers and other tasks retry after these errors, and must not end."""
    database = Database(postgresql.url)

    async def refuse(_: object) -> None:
        raise MissingEvents("it lacks events", position=7, offset=0)

    await database.require(refuse)
    with pytest.raises(ERRORS, match="position 7"):
        async with database.writing.begin():
            pass
    await database.close()


async def test_several_hosts_of_a_mysql_address_must_be_nodes_of_galera(mariadb: MariaDB) -> None:
    url = mariadb.new_database()
    with pytest.raises(ConfigurationError, match="it is not a node of Galera"):
        await Database.open(address(url, mariadb.port, mariadb.port))
    await (await Database.open(url)).close()
