"""Input cannot forge a line of the access log or of the event log (CWE-117)."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Server, by_serve
from tests.security.raw import ask, json_request, login, request

FORGED = "2026-01-01T00:00:00Z critical eventapi forged"
BREAKS = ["\n", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1b[2K", "\\n"]
DESCRIPTIONS = [f"one{text}{FORGED}" for text in ("\n", "\u2028", "\u2029", "\\n", "\\u000a", "\t")]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_every_line_of_the_access_log_is_one_request(tmp_path: Path, log_format: str) -> None:
    settings = {"EVENTAPI_LOG_LEVEL": "info", "EVENTAPI_LOG_FORMAT": log_format}

    with Server(tmp_path / "data", 1, by_serve, settings) as server:
        for text in BREAKS:
            path = quote(f"/items/{text}{FORGED}")
            raw = f"{text}{FORGED}".encode().decode("latin-1")
            ask(server.port, request(f"GET {path} HTTP/1.1"))
            ask(server.port, request(f"GET /items?q={quote(text + FORGED)} HTTP/1.1"))
            ask(server.port, request("GET / HTTP/1.1", f"X-Request-ID: r{raw}"))
            ask(server.port, request("GET / HTTP/1.1", f"User-Agent: u{raw}"))
            ask(server.port, request(f"GET /{raw} HTTP/1.1"))
        assert server.stop() == 0
        lines = server.output.splitlines()
    requests = [line for line in lines if "request_id" in line and "/health" not in line]

    assert len(requests) == 5 * len(BREAKS)
    assert not [line for line in lines if FORGED in line]
    if log_format == "json":
        assert all(json.loads(line)["logger"] == "eventapi.access" for line in requests)


def test_every_line_of_the_event_log_is_one_event_and_is_read_unchanged(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, by_serve) as server:
        ann = login(server.port, "ann")
        for text in DESCRIPTIONS:
            item = {"title": "a title", "description": text}
            assert ask(server.port, json_request("POST", "/items", item, ann)).status == 200
        shown = ask(server.port, request("GET /items HTTP/1.1", ann)).json()
        assert server.stop() == 0
    written = read_log(server.log)
    events = [line for line in written.lines if line.item]
    assert written.faults == []
    assert [event.personal["description"] for event in events] == DESCRIPTIONS
    assert server.log.read_bytes().count(b"\n") == len(written.lines)

    with Server(tmp_path / "data", 1, by_serve) as server:
        again = ask(server.port, request("GET /items HTTP/1.1", ann)).json()
    assert again == shown
    assert [item["description"] for item in shown] == DESCRIPTIONS
