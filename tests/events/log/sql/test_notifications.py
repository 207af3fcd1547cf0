"""Notifications of PostgreSQL: received once, and not after the log was closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.errors import MissingEvents
from events.log.sql.log import SqlLog
from tests.events.log_helpers import append
from tests.events.rows import open_sql_log, wait_until
from tests.servers.postgresql import PostgreSQL

LOSSES = 3


class LeakyDatabase(Database):
    """A planted bug: a connection that listens goes back to the pool."""

    @asynccontextmanager
    async def listen(
        self, connection: AsyncConnection, channel: str, on_notify: Callable[[str], None]
    ) -> AsyncIterator[None]:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.add_listener(channel, lambda *arguments: on_notify(arguments[-1]))
        yield


class Counter:
    """Makes a kind of database that records every notification."""

    def __init__(self, kind: type[Database]) -> None:
        self.received = received = list[str]()

        class Database(kind):  # type: ignore[misc, valid-type]
            @asynccontextmanager
            async def listen(
                self, connection: AsyncConnection, channel: str, on_notify: Callable[[str], None]
            ) -> AsyncIterator[None]:
                def record(payload: str) -> None:
                    received.append(payload)
                    on_notify(payload)

                async with super().listen(connection, channel, record):
                    yield

        self.kind: type[Database] = Database


async def notifications_after_losses(
    cleanup: AsyncExitStack,
    kind: type[Database],
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Count the notifications of one append at a log that was lost a few times."""
    left, poll = LOSSES, SqlLog._poll_head

    async def lose(log: SqlLog, connection: AsyncConnection) -> None:
        nonlocal left
        if left:
            left -= 1
            raise MissingEvents("lost", position=1, offset=0)
        await poll(log, connection)

    counter = Counter(kind)
    other = await open_sql_log(cleanup, url, folder / "other")
    log = await open_sql_log(cleanup, url, folder / "log", counter.kind)
    monkeypatch.setattr("events.log.sql.log._FIRST_RETRY_SECONDS", 0)
    monkeypatch.setattr("events.log.sql.log._HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(SqlLog, "_poll_head", lose)
    await wait_until(lambda: not left and not log.lost_for)
    await append(other)
    await wait_until(lambda: bool(counter.received))
    return len(counter.received)


async def test_a_log_that_was_lost_is_notified_once(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    url = postgresql.new_database()
    assert await notifications_after_losses(cleanup, Database, url, tmp_path, monkeypatch) == 1


async def test_control_leaked_listeners_multiply_notifications(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack
) -> None:
    url = postgresql.new_database()
    assert (
        await notifications_after_losses(cleanup, LeakyDatabase, url, tmp_path, monkeypatch)
        == LOSSES + 1
    )


async def errors_after_close(
    cleanup: AsyncExitStack, kind: type[Database], url: str, folder: Path
) -> list[Exception]:
    """Return the errors of a notification between the ends of log and database."""
    errors: list[Exception] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(context["exception"])
    )
    database, other = await kind.open(url), await open_sql_log(cleanup, url, folder / "other")
    log = await SqlLog.open(database, folder / "log")
    # Once it follows an append, the log listens.
    await append(other)
    await wait_until(lambda: log.position == 1)
    await log.close()
    await append(other)
    async with database.reading.connect() as connection:
        # Notifications arrive before the result of a query.
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0)
    await database.close()
    return errors


async def test_a_notification_after_the_log_was_closed_is_ignored(
    postgresql: PostgreSQL, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    assert await errors_after_close(cleanup, Database, postgresql.new_database(), tmp_path) == []


async def test_control_a_leaked_listener_notifies_a_closed_log(
    postgresql: PostgreSQL, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    assert (
        await errors_after_close(cleanup, LeakyDatabase, postgresql.new_database(), tmp_path) != []
    )
