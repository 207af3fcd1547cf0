"""The access log: a line per request with the route; paths at debug only."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from eventapi.http.middleware.access_log import access_log
from tests.eventapi.http.client import Api, quiet_settings


@pytest.fixture(scope="module")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all tests, so that they can use an application one after another."""
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture
def file(shared_file: Path) -> Path:
    """The log file, empty."""
    shared_file.write_bytes(b"")
    return shared_file


def logging_api(file: Path, form: str, level: str = "info") -> Api:
    return Api(quiet_settings(log_level=level, log_format=form, log_file=str(file)))


def test_a_json_line_has_every_member(file: Path) -> None:
    with logging_api(file, "json") as api:
        ann = api.caller("ann")
        answer = ann.get("/api/v2/items/7", headers={"x-request-id": "mine"})
        assert answer.status_code == 404
        api.request("GET", "/health/live")
    entries: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(entries) == 4
    _, _, read, live = entries
    members = ["time", "level", "logger", "method", "route", "status", "milliseconds", "request_id"]
    assert list(read) == [*members, "user"]
    assert list(live) == members
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", read["time"])
    assert (read["level"], read["logger"]) == ("info", "eventapi.access")
    assert (read["method"], read["status"]) == ("GET", 404)
    assert read["route"].startswith("/api/v2/items/{")
    assert (read["request_id"], read["user"]) == ("mine", "users/1")


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "path", ["/items/ann%0a%0dfake", "/%e2%80%a8ann", "/nowhere/ann", "/items?q=ann", "//ann"]
)
def test_a_path_is_not_logged(file: Path, form: str, path: str) -> None:
    with logging_api(file, form) as api:
        api.request("GET", path)
    text = file.read_text()
    assert text.count("\n") == len(text.splitlines()) == 1
    assert "ann" not in text
    assert "GET" in text


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/nowhere/ann?token=secret", "/nowhere/ann"),
        ("/item%20s/%0a%0dfake", "/item%20s/%0a%0dfake"),
        ("/api/v3/items", "/api/v3/items"),
    ],
)
def test_the_path_of_an_unknown_route_is_logged_at_debug(
    file: Path, form: str, path: str, shown: str
) -> None:
    with logging_api(file, form, "debug") as api:
        api.request("GET", path)
        api.request("GET", "/items/7")
    lines = [line for line in file.read_text().splitlines() if " GET " in line or '"GET"' in line]
    unknown, known = lines
    if form == "json":
        assert (json.loads(unknown)["route"], json.loads(unknown)["path"]) == ("-", shown)
        assert "path" not in json.loads(known)
    else:
        assert " 404 GET - " in unknown
        assert f" path={shown}" in unknown
        assert " path=" not in known
    assert "secret" not in unknown


@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize("raw", [b"/a b\n\x1b[31m\xff?x=1", None])
async def test_no_byte_of_a_path_can_move_the_cursor(form: bool, raw: bytes | None) -> None:
    """Another server may pass on bytes that uvicorn refuses."""
    written: list[bytes] = []

    log = access_log(written.append, as_json=form, paths=True)
    path = "/a b\n\x1b[31m"
    scope: Any = {"method": "GET", "request_id": "r", "path": path, "raw_path": raw}
    log(scope, 404, 0.001)
    await asyncio.sleep(0)
    (line,) = written
    assert line.count(b"\n") == 1
    assert line.decode().rstrip("\n").isprintable()
    assert b"/a%20b%0A%1B%5B31m" in line


def test_a_failed_write_does_not_hold_back_later_lines() -> None:
    written: list[bytes] = []

    def write(lines: bytes) -> None:
        if not written:
            written.append(b"")
            raise MemoryError
        written.append(lines)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        log = access_log(write, as_json=False)
        for number in range(3):
            scope: Any = {"method": "GET", "request_id": f"r{number}"}
            log(scope, 200, 0.001)
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [lines.partition(b"=")[2] for lines in written[1:]] == [b"r1\n", b"r2\n"]
