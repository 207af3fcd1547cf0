"""Helpers for tests of a log in a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import sqlalchemy

from events.database.connection import Database
from events.log.sql.log import SqlLog
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

Server = PostgreSQL | MariaDB

WAIT_SECONDS = 60.0


async def open_database(
    cleanup: AsyncExitStack, url: str, kind: type[Database] = Database
) -> Database:
    """Connect to a database, and disconnect when the test ends."""
    database = await kind.open(url)
    cleanup.push_async_callback(database.close)
    return database


async def open_sql_log(
    cleanup: AsyncExitStack, url: str, index: Path, kind: type[Database] = Database
) -> SqlLog:
    """Open the log of a database with a commit index; close both when the test ends."""
    log = await SqlLog.open(await open_database(cleanup, url, kind), index)
    cleanup.push_async_callback(log.close)
    return log


async def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition until it is true; raise `TimeoutError` after a minute."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - another task changes it
            await asyncio.sleep(0.01)


def with_port(url: str, port: int) -> str:
    """Return the URL of the same database on another port."""
    return sqlalchemy.make_url(url).set(port=port).render_as_string(hide_password=False)
