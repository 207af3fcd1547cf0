"""The fixture of a real server: its start, a failed start, and its end."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from eventapi.testing.plugin import Server, StartServer, eventapi_server

__all__ = ["eventapi_server"]

pytestmark = pytest.mark.long

NOTES = """
from eventapi.resources import Resource

class Note(Resource):
    text: str
"""


def test_two_servers_have_their_own_logs(eventapi_server: StartServer) -> None:
    first, second = eventapi_server(), eventapi_server(LOG_LEVEL="warning")
    assert first.user("ann").post("items", json={"title": "a"}).json()["id"] == 1
    assert second.user("ann").get("items").json()["items"] == []
    assert first.data != second.data


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "data", "missing")
    with pytest.raises(RuntimeError, match="no module 'missing'"):
        server.start()
    assert server.stop() == 0


def test_the_server_ends_and_starts_again_on_its_data(tmp_path: Path) -> None:
    (tmp_path / "notes.py").write_text(NOTES)
    with Server(tmp_path, tmp_path / "data", "notes") as server:
        server.user("ann").post("notes", json={"text": "a"}).raise_for_status()
        url = server.url
        assert server.stop() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        server.start()
        assert server.login("ann").get("notes/1").json()["text"] == "a"
        assert "position" in server.command("state", "show")
