"""A pooler that gives away connections between transactions is named at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from events.database import connection as database
from events.database.connection import Database
from events.database.pooler import refusal_of_pooler
from events.errors import ConfigurationError
from tests.eventapi.cli.running import message_in, run
from tests.events.log_helpers import append, in_event_loop, read_all
from tests.events.rows import open_sql_log
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving

# The drivers leave it to the collector to close what was cut off.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_does_not_keep_the_connection_is_refused(
    postgresql: PostgreSQL, tmp_path: Path, mode: str
) -> None:
    """At once and in one message, though a start waits a minute for a database."""
    with serving(PgBouncer(postgresql.new_database(), mode)) as pooler:  # type: ignore[arg-type]
        for command in (("log", "show"), ("serve", "--port", "0", "--workers", "2")):
            ended = run(tmp_path, *command, EVENTAPI_LOG=pooler.url, EVENTAPI_LOG_LEVEL="error")
            assert ended.code == 3
            assert message_in(ended.err).startswith("a connection pooler ")
            assert "pool_mode = session" in ended.err
            assert "unused" not in ended.err


def test_a_pooler_that_refuses_the_settings_of_a_session_is_named(postgresql: PostgreSQL) -> None:
    with (
        serving(PgBouncer(postgresql.new_database(), "session", ignored="")) as pooler,
        pytest.raises(ConfigurationError, match=r"a connection pooler .* lock_timeout"),
    ):
        asyncio.run(Database.open(pooler.url, patience=60))


@pytest.fixture
def session_pooler(postgresql: PostgreSQL) -> Iterator[PgBouncer]:
    with serving(PgBouncer(postgresql.new_database(), "session")) as pooler:
        yield pooler


@in_event_loop
async def test_a_pooler_in_session_mode_is_no_trouble(
    session_pooler: PgBouncer, tmp_path: Path
) -> None:
    log = await open_sql_log(session_pooler.url, tmp_path / "mark")
    lines = await append(log, 3)
    assert await read_all(log) == lines


@in_event_loop
async def test_the_control_is_not_refused_and_loses_what_belongs_to_a_session(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check such a server starts."""

    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(database, "check_connection_is_own", nothing)
    with serving(PgBouncer(postgresql.new_database(), "transaction")) as pooler:
        opened = await Database.open(pooler.url)
        await opened.close()


def test_errors_of_prepared_statements_are_those_of_a_pooler() -> None:
    class _Error(Exception):
        sqlstate = "26000"

    error = _Error('prepared statement "__asyncpg_stmt_1__" does not exist')
    assert "pooler" in (refusal_of_pooler(DBAPIError("SELECT", None, error)) or "")
    assert refusal_of_pooler(OSError("no route to host")) is None
