"""A start that waits for a service logs this at once, and only once."""

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
from tests.eventapi.cli.running import address_of, running
from tests.eventapi.http.client import Api, quiet_settings


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A bound port that does not listen; no other process can use it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_waiting_for_a_dead_database_is_logged(
    closed_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "REMINDER_SECONDS", 0.5)
    url = f"postgresql://ev:hunter2@127.0.0.1:{closed_port}/log"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        await Database.open(url, patience=2)
    first, second, *_ = [record for record in caplog.records if record.name == "events.startup"]
    assert first.levelno == second.levelno == logging.WARNING
    line = first.getMessage()
    assert line.startswith(
        f"waiting for the database postgresql://ev:********@127.0.0.1:{closed_port}/log, up to 1 s more: "
    )
    assert "Nothing was lost" in line
    assert "hunter2" not in caplog.text


async def test_waiting_for_a_silent_database_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A firewall may drop all packets, so that no attempt has failed yet."""
    await starting.report_slow_start(
        asyncio.sleep(0.2), lambda waited: starting.logger.warning("%.1f", waited), 0.05
    )
    assert [record.name for record in caplog.records] == ["events.startup"]


async def test_a_short_wait_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> int:
        return 7

    waited = starting.report_slow_start(work(), lambda _: starting.logger.warning("waiting"))
    assert await waited == 7
    assert caplog.records == []


def test_a_missing_redis_is_logged_at_start(
    closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning does not wait for a request that is counted."""
    url = f"redis://:hunter2@127.0.0.1:{closed_port}/0"
    with Api(quiet_settings(redis_url=url)) as api:
        assert api.request("GET", "/health").json()["redis"] == "lost"
        api.request("GET", "/items")
    (warning,) = [record for record in caplog.records if "Redis" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "hunter2" not in caplog.text


@pytest.mark.long
def test_only_one_worker_logs_that_redis_is_lost(closed_port: int, tmp_path: Path) -> None:
    """Every worker notices by itself that Redis is lost."""
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
    assert len([message for message in messages if "Redis cannot be reached" in message]) == 1


def test_a_long_replay_is_logged_every_five_seconds(
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
