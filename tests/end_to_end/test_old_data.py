"""A data directory of the version before declared resources is served as it was.

`tests/data/before-resources` has it, with the answers of that version: items that were created,
changed, deleted and restored, an erased user, an auditor, and a snapshot before the end of the log.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server import ROOT, Server, by_serve
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import invoke

OLD = ROOT / "tests" / "data" / "before-resources"
STOCK = {"EVENTAPI_RESOURCES": "tests.end_to_end.stock"}


def by_serve_much_later(port: int, workers: int) -> Sequence[str]:
    """Arguments of `eventapi serve`, although the last event is from another year."""
    return [*by_serve(port, workers), "--accept-clock"]


@pytest.mark.parametrize("settings", [{}, STOCK], ids=["items only", "declared kinds"])
def test_an_old_data_directory_is_served(data: Path, settings: dict[str, str]) -> None:
    shutil.copytree(OLD / "data", data)
    with Server(data, 1, by_serve_much_later, settings) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            check_answers(client, server.url)
            check_writes(client, has_tickets=bool(settings))
        assert server.stop() == 0
    assert server.log.read_bytes().startswith((OLD / "data" / "events.jsonl").read_bytes())
    for command in (["log", "verify"], ["rebuild"]):
        result = invoke(data, *command, **settings)
        assert result.exit_code == 0, result.output


def check_answers(client: httpx.Client, url: str) -> None:
    """Compare the answers of now with those of the old version."""
    expected = json.loads((OLD / "expected.json").read_text())
    headers = {name: log_in(client, name) for name in ("ann", "ben")}
    for request, (status, body) in expected.items():
        name, path = request.split(" ")
        answer = client.get(path, headers=headers[name])
        assert answer.status_code == status, request
        if status == 200:
            found = json.loads(answer.text.replace(url, "http://server"))
            if "/audit/state" in path:
                del found["resources"]  # The counts of each kind are new.
            if path == "/api/v2/auth/me":
                assert found.pop("email_verified") is False
            assert found == body, request


def check_writes(client: httpx.Client, *, has_tickets: bool) -> None:
    """Write to the old log: a new item has a new number."""
    headers = log_in(client, "ann")
    answer = client.post("/api/v2/items", headers=headers, json={"title": "new"})
    assert answer.json()["id"] == 11, answer.text
    answer = client.post("/api/v2/tickets", headers=headers, json={"code": "new"})
    assert answer.status_code == (201 if has_tickets else 404), answer.text


def log_in(client: httpx.Client, name: str) -> dict[str, str]:
    """Log a user of the old log in."""
    body = {"username": name, "password": PASSWORD}
    answer = client.post("/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
