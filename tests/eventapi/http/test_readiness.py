"""A server whose database is lost gets no work until it is there again, and answers all the same."""

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

# The drivers leave it to the collector to close what was cut off.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A database server of every make, which runs again after the test."""
    found: Server = request.getfixturevalue(request.param)
    yield found
    if not found.is_running:
        found.start()
    gc.collect()


class OverDatabase(Api):
    """An app over a database of its own, and whether that was noted as lost."""

    def __init__(self, server: Server, data: Path) -> None:
        super().__init__()
        settings = quiet_settings(data=str(data), log=server.new_database())
        self.edge = create_app(settings)
        self.noted: list[bool] = []

    def status(self, page: str) -> int:
        """What a page of health answers."""
        return self.request("GET", f"/health{page}").status_code

    def until_noted(self, *, is_lost: bool) -> None:
        """Wait until the database is noted to be lost, or not."""
        self.noted.clear()
        self.run(wait_until(lambda: is_lost in self.noted))


Note = Callable[..., None]


def while_lost(
    server: Server, data: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> tuple[list[int], Any]:
    """What ``ready`` answered before, while, and after the database was lost; and a detail."""
    with OverDatabase(server, data) as api:

        def noting(log: SqlLog, *, is_connected: bool, error: Exception | None = None) -> None:
            note(log, is_connected=is_connected, error=error)
            api.noted.append(not is_connected)

        monkeypatch.setattr(SqlLog, "_set_connected", noting)
        answers = [api.status("/ready")]
        server.kill()
        api.until_noted(is_lost=True)
        answers.append(api.status("/ready"))
        details = api.request("GET", "/health").json()
        assert api.status("/live") == 200
        server.start()
        api.until_noted(is_lost=False)
        answers.append(api.status("/ready"))
        return answers, details


def test_a_server_is_ready_while_its_database_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, details = while_lost(server, tmp_path, monkeypatch, SqlLog._set_connected)
    assert answers == [200, 503, 200]
    assert details["database"] == "lost"
    assert details["database_lost_seconds"] > 0


def test_control_a_server_that_takes_no_note_seems_to_be_ready(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(_: SqlLog, **__: object) -> None:
        pass

    answers, details = while_lost(server, tmp_path, monkeypatch, forgetful)
    assert answers == [200, 200, 200]
    assert details["database"] == "ok"
