"""A primary with a standby: what was acknowledged is there after a fail-over, or it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.errors import LogUnavailable, MissingEvents
from events.log.sql.log import SqlLog
from tests.events.log_helpers import append, read_all
from tests.events.rows import open_sql_log, wait_until
from tests.servers.replication import Pair, freeze
from tests.servers.serving import serving

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and a standby of this test alone."""
    with serving(Pair()) as pair:
        yield pair


async def _append_again(log: SqlLog, count: int = 1) -> list[bytes]:
    """Append once the log can be written again."""
    await wait_until(lambda: not log.lost_for)
    return await append(log, count, timeout=60)


# A synchronous standby


async def test_a_log_goes_on_over_the_promoted_standby(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    pair.replicate_synchronously()
    log = await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    lines = await append(log, 5)
    await asyncio.to_thread(pair.fail_over)
    lines += await append(log, 2, timeout=60)
    await wait_until(lambda: not log.lost_for)
    assert await read_all(log) == lines


async def test_a_log_leaves_a_silent_primary_for_the_promoted_standby(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the old primary answers again, it gets no connection, although it accepts writes."""
    monkeypatch.setattr("events.database.drivers.STATEMENT_SECONDS", 2)
    monkeypatch.setattr("events.database.drivers.CONNECT_SECONDS", 2)
    log = await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    lines = await append(log, 5)
    pair.wait_until_replicated()
    old = pair.primary
    freeze(old)
    try:
        await asyncio.to_thread(pair.promote)
        await wait_until(lambda: log.lost_for > 0)
        lines += await _append_again(log, 2)
    finally:
        freeze(old, is_frozen=False)
    await log.database.close()  # New connections.
    lines += await append(log, 2)
    assert await read_all(log) == lines
    assert old.sql("SELECT position FROM eventapi_head", "eventapi") == "5"


async def _append_without_standby(
    pair: Pair, mark: Path, cleanup: AsyncExitStack
) -> tuple[list[bytes], str]:
    """Append while the standby is away; return the outcome, and what the standby then has."""
    pair.replicate_synchronously()
    log = await open_sql_log(cleanup, pair.url, mark)
    await append(log, 2)
    pair.standby.stop()
    try:
        acknowledged = await append(log, 3)
    except LogUnavailable:
        acknowledged = []
    pair.primary.kill()
    await asyncio.to_thread(pair.standby.start)
    await asyncio.to_thread(pair.promote)
    return acknowledged, pair.primary.sql("SELECT position FROM eventapi_head", "eventapi")


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of a statement and of a COMMIT that a test can wait for."""
    monkeypatch.setattr("events.database.drivers.STATEMENT_SECONDS", 3)
    monkeypatch.setattr("events.database.connection.COMMIT_SECONDS", 1)
    monkeypatch.setattr("events.log.sql.outcome._RESOLVE_SECONDS", 3)


@pytest.mark.usefixtures("short_limits")
async def test_a_commit_without_the_synchronous_standby_is_not_acknowledged(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    assert await _append_without_standby(pair, tmp_path / "mark", cleanup) == ([], "2")


@pytest.mark.usefixtures("short_limits")
async def test_control_a_cancelled_commit_is_acknowledged_and_then_lost(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver cancels a statement at its limit; then the row is there for the next reader."""

    async def commit(database: Database, connection: AsyncConnection) -> None:
        if connection is database.current_transaction:
            await connection.commit()

    monkeypatch.setattr(Database, "commit", commit)
    acknowledged, position = await _append_without_standby(pair, tmp_path / "mark", cleanup)
    assert (len(acknowledged), position) == (3, "2")


# An asynchronous standby


async def _lose_events(pair: Pair, log: SqlLog) -> list[bytes]:
    """Promote a standby without the last three of eight events; return them all."""
    lines = await append(log, 5)
    pair.wait_until_replicated()
    pair.standby.stop()
    lines += await append(log, 3)
    pair.primary.kill()
    await asyncio.to_thread(pair.standby.start)
    await asyncio.to_thread(pair.promote)
    return lines


LACK = (
    "8 events were acknowledged here, and the database ends at position 5, so that those from 6 on"
)


async def test_a_standby_that_lost_events_is_refused_until_the_primary_is_back(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    lines = await _lose_events(pair, log)
    await wait_until(lambda: LACK in caplog.text)
    for _ in range(2):
        with pytest.raises(MissingEvents, match=LACK):
            await append(log, timeout=60)
        with pytest.raises(MissingEvents, match=LACK):
            await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    depths = set()
    for _ in range(3):
        with pytest.raises(MissingEvents, match=LACK) as refused:
            await append(log, timeout=0)
        depths.add(len(refused.traceback))
    assert len(depths) == 1, "the stored refusal holds the frames of every request"
    await asyncio.to_thread(pair.standby.start)  # The old primary, beside the other one.
    lines += await _append_again(log)
    assert await read_all(log) == lines
    again = await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    assert await read_all(again) == lines
    assert pair.primary.sql("SELECT position FROM eventapi_head", "eventapi") == "5"


async def _outgrow(pair: Pair, directory: Path, cleanup: AsyncExitStack) -> SqlLog:
    """Let another machine write to the standby that lost events, beyond the lost ones."""
    log = await open_sql_log(cleanup, pair.url, directory / "mark")
    await _lose_events(pair, log)
    other = await open_sql_log(cleanup, pair.url, directory / "other machine")
    await append(other, 9, size=10, timeout=60)
    assert other.position == 14
    return log


async def test_a_standby_that_lost_events_is_refused_although_it_has_more(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack
) -> None:
    log = await _outgrow(pair, tmp_path, cleanup)
    lack = "8 events were acknowledged here, and the database has another event at position 8"
    await wait_until(lambda: log.lost_for > 0)
    with pytest.raises(MissingEvents, match=lack):
        await append(log, timeout=60)
    assert log.position == 8


async def test_control_without_the_checks_a_standby_with_other_events_is_accepted(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def accept(*_: object) -> None:
        pass

    monkeypatch.setattr("events.log.sql.log.check_server", accept)
    monkeypatch.setattr("events.log.sql.log.check_continues", accept)
    log = await _outgrow(pair, tmp_path, cleanup)
    await wait_until(lambda: log.position == 14)


async def test_a_promoted_standby_with_unsafe_settings_is_refused(
    pair: Pair, tmp_path: Path, cleanup: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_sql_log(cleanup, pair.url, tmp_path / "mark")
    lines = await append(log, 2)
    pair.wait_until_replicated()
    pair.standby.sql("ALTER SYSTEM SET synchronous_commit = off")
    pair.standby.sql("SELECT pg_reload_conf()")
    await asyncio.to_thread(pair.fail_over)
    await wait_until(lambda: log.lost_for > 0)
    with pytest.raises(LogUnavailable, match="synchronous_commit = off"):
        await append(log, timeout=12)
    pair.primary.sql("ALTER SYSTEM RESET synchronous_commit")
    pair.primary.sql("SELECT pg_reload_conf()")
    lines += await _append_again(log)
    assert await read_all(log) == lines
