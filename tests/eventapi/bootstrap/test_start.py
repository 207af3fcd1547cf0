"""What a start waits for is in the server's log at once, and once."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventapi.telemetry.progress import replay_lines
from events.database.connection import Database
from events.errors import ConfigurationError
from events.io import startup as starting
from tests.eventapi.cli.running import running
from tests.eventapi.cli.test_serve import address_of
from tests.eventapi.http.client import Api, quiet_settings


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else can listen on it, and does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_dead_database_is_reported_while_it_is_waited_for(
    closed_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "REMINDER_SECONDS", 0.5)
    url = f"postgresql://ev:hunter2@127.0.0.1:{closed_port}/log"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        asyncio.run(Database.open(url, patience=2))
    first, second, *_ = [record for record in caplog.records if record.name == "events.io.startup"]
    assert first.levelno == second.levelno == logging.WARNING
    said = first.getMessage()
    assert said.startswith(
        f"waiting for the database postgresql://ev:***@127.0.0.1:{closed_port}/log, up to 1 s more: "
    )
    assert "Nothing was lost" in said
    assert "hunter2" not in caplog.text


def test_a_database_that_does_not_answer_is_reported_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As behind a firewall that drops what it gets: no attempt has failed yet."""

    async def wait() -> None:
        work = asyncio.sleep(0.2)
        await starting.report_slow_start(
            work, lambda waited: starting.logger.warning("%.1f", waited), 0.05
        )

    asyncio.run(wait())
    assert [record.name for record in caplog.records] == ["events.io.startup"]


def test_a_wait_that_is_short_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> int:
        async def work() -> int:
            return 7

        return await starting.report_slow_start(
            work(), lambda _: starting.logger.warning("waiting")
        )

    assert asyncio.run(wait()) == 7
    assert caplog.records == []


def test_a_redis_that_is_not_there_is_known_at_once(
    closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Before any request is counted."""
    url = f"redis://:hunter2@127.0.0.1:{closed_port}/0"
    with Api(quiet_settings(redis_url=url)) as api:
        assert api.request("GET", "/health").json()["redis"] == "lost"
        api.request("GET", "/items")
    (warning,) = [record for record in caplog.records if "Redis" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "hunter2" not in caplog.text


@pytest.mark.long
def test_one_worker_reports_for_all(closed_port: int, tmp_path: Path) -> None:
    """Each of them finds out by itself that Redis is lost."""
    settings = {
        "EVENTAPI_REDIS_URL": f"redis://127.0.0.1:{closed_port}/0",
        "EVENTAPI_LOG_FORMAT": "json",
    }
    with running(tmp_path, "serve", "--port", "0", "--workers", "3", **settings) as server:
        address_of(server)
        ended = server.stop()
    messages = [
        json.loads(line)["message"] for line in ended.err.splitlines() if '"message"' in line
    ]
    assert len([message for message in messages if "Redis is lost" in message]) == 1


def test_a_long_replay_is_reported_every_five_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with replay_lines(500_001) as progress:
        progress(100_000)  # Not yet.
        monkeypatch.setattr("eventapi.telemetry.progress.LINE_SECONDS", 0)
    with replay_lines(500_001) as progress:
        progress(200_000)
        progress(400_000)
    assert [record.getMessage() for record in caplog.records] == [
        "replaying the log: 200,000 of 500,001 (39 %)",
        "replaying the log: 400,000 of 500,001 (79 %)",
    ]
