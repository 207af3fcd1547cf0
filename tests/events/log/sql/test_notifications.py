"""Who listens to PostgreSQL hears once, and not for longer than they want to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.errors import MissingEvents
from events.log.sql.log import SqlLog
from tests.events.log_helpers import append, in_event_loop
from tests.events.rows import open_sql_log, wait_until
from tests.servers.postgresql import PostgreSQL

LOSSES = 3


class Loose(Database):
    """A planted bug: the connection on which somebody listened is used again by others."""

    @asynccontextmanager
    async def listen(
        self, connection: AsyncConnection, channel: str, heard: Callable[[str], None]
    ) -> AsyncIterator[None]:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.add_listener(channel, lambda *said: heard(said[-1]))
        yield


class Counting:
    """A database that counts how often something is heard."""

    def __init__(self, kind: type[Database]) -> None:
        self.heard = heard_here = list[str]()

        class Database(kind):  # type: ignore[misc, valid-type]
            @asynccontextmanager
            async def listen(
                self, connection: AsyncConnection, channel: str, heard: Callable[[str], None]
            ) -> AsyncIterator[None]:
                def noted(word: str) -> None:
                    heard_here.append(word)
                    heard(word)

                async with super().listen(connection, channel, noted):
                    yield

        self.kind: type[Database] = Database


async def heard_after_losses(
    kind: type[Database], url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """How often one append is heard by a log that was lost and found a few times."""
    left, look = LOSSES, SqlLog._poll_head

    async def lose(log: SqlLog, connection: AsyncConnection) -> None:
        nonlocal left
        if left:
            left -= 1
            raise MissingEvents("lost", position=1, offset=0)
        await look(log, connection)

    counting = Counting(kind)
    other = await open_sql_log(url, folder / "other")
    log = await open_sql_log(url, folder / "log", counting.kind)
    monkeypatch.setattr("events.log.sql.log._FIRST_RETRY_SECONDS", 0)
    monkeypatch.setattr("events.log.sql.log._HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(SqlLog, "_poll_head", lose)
    await wait_until(lambda: not left and not log.lost_for)
    await append(other)
    await wait_until(lambda: bool(counting.heard))
    return len(counting.heard)


@in_event_loop
async def test_a_log_that_was_lost_hears_once(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.new_database()
    assert await heard_after_losses(Database, url, tmp_path, monkeypatch) == 1


@in_event_loop
async def test_control_connections_that_are_used_again_hear_more_and_more(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.new_database()
    assert await heard_after_losses(Loose, url, tmp_path, monkeypatch) == LOSSES + 1


async def errors_after_the_end(kind: type[Database], url: str, folder: Path) -> list[Exception]:
    """What goes wrong where a word comes when the log is closed and its database is not yet."""
    errors: list[Exception] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(context["exception"])
    )
    database, other = await kind.open(url), await open_sql_log(url, folder / "other")
    log = await SqlLog.open(database, folder / "log")
    # Listening begins once the log is looked at, and then the log knows of appends.
    await append(other)
    await wait_until(lambda: log.position == 1)
    await log.close()
    await append(other)
    async with database.reading.connect() as connection:
        # Whatever was said to this connection arrives before the answer.
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0)
    await database.close()
    return errors


@in_event_loop
async def test_a_word_that_comes_after_the_log_was_closed_does_no_harm(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    assert await errors_after_the_end(Database, postgresql.new_database(), tmp_path) == []


@in_event_loop
async def test_control_a_connection_that_is_used_again_tells_a_log_that_is_closed(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    assert await errors_after_the_end(Loose, postgresql.new_database(), tmp_path) != []
