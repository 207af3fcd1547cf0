"""A server that lost its database answers, but is not ready until it reconnects."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventapi.app import create_app
from events.log.sql.log import SqlLog
from tests.eventapi.http.client import Api, quiet_settings
from tests.events.rows import Server, wait_until

# The drivers let the garbage collector close connections that were cut off.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each kind of database server, which is started again after the test."""
    found: Server = request.getfixturevalue(request.param)
    yield found
    if not found.is_running:
        found.start()
    gc.collect()


class OverDatabase(Api):
    """An app over its own database that records when it loses the database."""

    def __init__(self, server: Server, data: Path) -> None:
        super().__init__()
        settings = quiet_settings(data=str(data), log=server.new_database())
        self.edge = create_app(settings)
        self.losses: list[bool] = []

    def status(self, page: str) -> int:
        """The status of a page of health."""
        return self.request("GET", f"/health{page}").status_code

    def wait_for_loss(self, *, is_lost: bool) -> None:
        """Wait until the app records that the database is lost, or is connected again."""
        self.losses.clear()
        self.run(wait_until(lambda: is_lost in self.losses))


Note = Callable[..., None]


def lose_database(
    server: Server, data: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> tuple[list[int], Any]:
    """Statuses of ``ready`` before, during and after a loss, and details during it."""
    with OverDatabase(server, data) as api:

        def record(log: SqlLog, *, is_connected: bool, error: Exception | None = None) -> None:
            note(log, is_connected=is_connected, error=error)
            api.losses.append(not is_connected)

        monkeypatch.setattr(SqlLog, "_set_connected", record)
        answers = [api.status("/ready")]
        server.kill()
        api.wait_for_loss(is_lost=True)
        answers.append(api.status("/ready"))
        details = api.request("GET", "/health").json()
        assert api.status("/live") == 200
        server.start()
        api.wait_for_loss(is_lost=False)
        answers.append(api.status("/ready"))
        return answers, details


def test_a_server_is_ready_only_while_its_database_is_connected(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, details = lose_database(server, tmp_path, monkeypatch, SqlLog._set_connected)

    assert answers == [200, 503, 200]
    assert details["database"] == "lost"
    assert details["database_lost_seconds"] > 0


def test_control_a_server_that_ignores_the_loss_stays_ready(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(_: SqlLog, **__: object) -> None:
        pass

    answers, details = lose_database(server, tmp_path, monkeypatch, forgetful)

    assert answers == [200, 200, 200]
    assert details["database"] == "ok"
