"""A pooler that shares connections between transactions is refused at the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from events.database import connection as database
from events.database.connection import Database
from events.database.pooler import refusal_of_pooler
from events.errors import ConfigurationError
from tests.eventapi.cli.running import message_in, run
from tests.events.log_helpers import append, read_all
from tests.events.rows import open_sql_log
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving

# The drivers leave lost connections to the garbage collector.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_in_transaction_or_statement_mode_is_refused(
    postgresql: PostgreSQL, tmp_path: Path, mode: str
) -> None:
    """At once and in one message, although a start waits a minute for a database."""
    with serving(PgBouncer(postgresql.new_database(), mode)) as pooler:  # type: ignore[arg-type]
        for command in (("log", "show"), ("serve", "--port", "0", "--workers", "2")):
            ended = run(tmp_path, *command, EVENTAPI_LOG=pooler.url, EVENTAPI_LOG_LEVEL="error")
            assert ended.code == 3
            assert message_in(ended.err).startswith("a connection pooler ")
            assert "pool_mode = session" in ended.err
            assert "unused" not in ended.err


async def test_a_pooler_that_refuses_session_settings_is_named(postgresql: PostgreSQL) -> None:
    with (
        serving(PgBouncer(postgresql.new_database(), "session", ignored="")) as pooler,
        pytest.raises(ConfigurationError, match=r"a connection pooler .* lock_timeout"),
    ):
        await Database.open(pooler.url, patience=60)


@pytest.fixture
def session_pooler(postgresql: PostgreSQL) -> Iterator[PgBouncer]:
    with serving(PgBouncer(postgresql.new_database(), "session")) as pooler:
        yield pooler


async def test_a_pooler_in_session_mode_is_accepted(
    session_pooler: PgBouncer, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await open_sql_log(cleanup, session_pooler.url, tmp_path / "mark")
    lines = await append(log, 3)
    assert await read_all(log) == lines


async def test_control_without_the_check_a_transaction_pooler_is_accepted(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(database, "check_connection_is_own", nothing)
    with serving(PgBouncer(postgresql.new_database(), "transaction")) as pooler:
        await (await Database.open(pooler.url)).close()


def test_an_unknown_prepared_statement_is_reported_as_a_pooler() -> None:
    class _Error(Exception):
        sqlstate = "26000"

    error = _Error('prepared statement "__asyncpg_stmt_1__" does not exist')
    assert "pooler" in (refusal_of_pooler(DBAPIError("SELECT", None, error)) or "")
    assert refusal_of_pooler(OSError("no route to host")) is None
