"""What the tests of a log in a database have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import sqlalchemy

from events.database.connection import Database
from events.log.sql.log import SqlLog
from tests.events.log_helpers import at_end
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

Server = PostgreSQL | MariaDB

WAIT_SECONDS = 60.0


async def open_sql_log(url: str, mark: Path, kind: type[Database] = Database) -> SqlLog:
    """The log of a database, closed with the test."""
    database = await kind.open(url)
    at_end(database.close)
    log = await SqlLog.open(database, mark)
    at_end(log.close)
    return log


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_so():  # noqa: ASYNC110 - a driver's task makes it so
            await asyncio.sleep(0.01)


def with_port(url: str, port: int) -> str:
    """The same database, by another port."""
    return sqlalchemy.make_url(url).set(port=port).render_as_string(hide_password=False)
