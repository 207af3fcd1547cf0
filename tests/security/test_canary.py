"""Nothing secret comes out where it does not belong, and what is erased is nowhere.

A real server is given values that stand nowhere else, and everything it keeps and says is searched.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.server import ROOT, Server, by_serve, uvicorn_of
from tests.security.receiver import receiving

KEY = "canary-key-7e02b94fc15d8a6390b7-canary-key"
PASSWORD = "canary-password-7312"
TYPED = {
    "username": "canaryname",
    "email": "canary.mail@example.org",
    "full_name": "Canary Fullname",
    "title": "canary title 5521",
    "description": "canary description 9917",
    "agent": "canary-agent/4.4",
}


class Client:
    """Sends requests, and keeps every answer that is not meant for the one who knows the secret."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.token = ""
        self.heard = b""

    def ask(
        self, method: str, path: str, body: object = None, *, private: bool = False, **headers: str
    ) -> Any:
        """The decoded answer; ``private`` ones are for who asked, and not searched."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        named = {"User-Agent": TYPED["agent"], "Content-Type": "application/json"} | headers
        if self.token and "Authorization" not in headers:
            named["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self._root + path, data, named, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                head, content = str(answer.headers).encode(), answer.read()
        except urllib.error.HTTPError as error:
            head, content = str(error.headers).encode(), error.read()
        if not private:
            self.heard += head + content
        try:
            return json.loads(content) if content else None
        except ValueError:
            return content

    def live(self) -> dict[str, str]:
        """Use everything: an account, its sessions, items, and all that can be refused."""
        account = {name: TYPED[name] for name in ("username", "email", "full_name")}
        item = {name: TYPED[name] for name in ("title", "description")}
        self.ask("POST", "/auth/register", account | {"password": PASSWORD}, private=True)
        tokens = self.ask(
            "POST",
            "/auth/login",
            {"username": TYPED["username"], "password": PASSWORD},
            private=True,
        )
        self.token = tokens["access_token"]
        made = self.ask("POST", "/api/v2/items", item, private=True)
        self.ask("GET", f"/items?q={quote(TYPED['title'])}", private=True)
        self.ask("GET", "/auth/sessions", private=True)
        renewed = self.ask(
            "POST", "/auth/refresh", {"refresh_token": tokens["refresh_token"]}, private=True
        )
        # A name that is taken is said again to who has just typed it.
        self.ask("POST", "/auth/register", account | {"password": PASSWORD}, private=True)
        # From here on nobody asks for anything that is theirs.
        self.ask("POST", "/auth/register", account | {"password": PASSWORD, "roles": [PASSWORD]})
        self.ask("POST", "/auth/login", {"username": "nobody", "password": PASSWORD})
        self.ask("POST", "/auth/login", {"username": 7, "password": [PASSWORD]})
        self.ask("POST", "/auth/login", f'{{"password": "{PASSWORD}", '.encode())
        self.ask("POST", "/auth/refresh", {"refresh_token": renewed["refresh_token"] + "x"})
        self.ask("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "x"})
        self.ask("GET", f"/items/{PASSWORD}")
        # The path of an unknown route is logged at debug, so there is nothing secret in it.
        self.ask("GET", "/unknown", Authorization=f"Bearer {self.token}x")
        self.ask("GET", "/auth/me", Authorization=f"Bearer {KEY}")
        # Version 1 repeats bad values to its caller, as FastAPI does, but for those of accounts.
        self.ask("GET", "/items?limit=" + PASSWORD, private=True)
        self.ask("GET", "/api/v2/items?limit=" + PASSWORD)
        self.ask("PUT", f"/items/{made['id']}", {"title": [TYPED["title"]]}, private=True)
        self.ask("PUT", f"/api/v2/items/{made['id']}", {"title": [TYPED["title"]]})
        self.ask("GET", f"/items/{made['id']}", Authorization="Bearer ")
        for path in ("/health", "/health/ready", "/openapi.json", "/metrics", "/docs", "/"):
            self.ask("GET", path, Authorization="Bearer ")
        return {
            "access token": tokens["access_token"],
            "refresh token": tokens["refresh_token"],
            "renewed access token": renewed["access_token"],
            "renewed refresh token": renewed["refresh_token"],
        }


def spellings(value: str) -> Iterator[bytes]:
    """The value as it may stand in a file: plain, in hex, in base64 at any offset, in a URL."""
    plain = value.encode()
    yield from (plain, plain.hex().encode(), quote(value).encode(), value.upper().encode())
    for skipped in range(3):
        # Neither the first nor the last letter: neighbours shine through there.
        inner = base64.b64encode(b"\0" * skipped + plain)[4 if skipped else 0 : -4]
        yield from (inner, inner.replace(b"+", b"-").replace(b"/", b"_"))


def found(places: Mapping[str, bytes], values: Mapping[str, str]) -> list[str]:
    """Which value stands where."""
    return [
        f"{name} in {place}"
        for place, content in places.items()
        for name, value in values.items()
        if any(spelling in content for spelling in spellings(value))
    ]


def files(server: Server) -> dict[str, bytes]:
    """Every file that the server keeps, by name, and all that it said."""
    kept = {
        str(path.relative_to(server.data)): path.read_bytes()
        for path in server.data.rglob("*")
        if path.is_file()
    }
    return kept | {"its output": server.output.encode()}


def program(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of one of our commands on the server's data."""
    return subprocess.run(
        [sys.executable, "-m", "eventapi", "--data", str(server.data), *arguments],
        cwd=server.data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_kept_or_said(tmp_path: Path, log_format: str) -> None:
    settings = {
        "EVENTAPI_SECRET_KEY": KEY,
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FORMAT": log_format,
        "EVENTAPI_LOG_FILE": str(tmp_path / "data" / "server.log"),
    }
    with Server(tmp_path / "data", 2, by_serve, settings) as server:
        client = Client(server.port)
        secrets = {"key": KEY, "password": PASSWORD} | client.live()
        program(server, "snapshot")
        places = files(server) | {"what anybody may hear": client.heard}
        assert found(places, secrets) == []
        assert found(places, {"argon2": "$argon2"}) == []
        assert found(places, TYPED) == []
        # The controls: the request is in the log, and a search finds what is there.
        assert "/auth/login" in server.output
        assert found({"place": f"a {KEY}".encode()}, {"key": KEY}) == ["key in place"]
        assert found({"place": base64.b64encode(f"a{KEY}".encode())}, {"key": KEY})


def test_nothing_personal_is_told_to_those_who_watch(tmp_path: Path) -> None:
    """Not to Prometheus, not to who collects traces, not to Sentry, even where the code is careless.

    The server fails in the middle of a request with an error that quotes all of it.
    """
    with receiving() as receiver:
        settings = {
            "EVENTAPI_SECRET_KEY": KEY,
            "EVENTAPI_LOG_LEVEL": "debug",
            "EVENTAPI_SENTRY_DSN": f"http://public@127.0.0.1:{receiver.port}/1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        careless = uvicorn_of("tests.security.careless:create_app")
        with Server(tmp_path / "data", 2, careless, settings) as server:
            client = Client(server.port)
            secrets = {"key": KEY, "password": PASSWORD} | client.live()
            trace = "0af7651916cd43dd8448eb211c80319c"
            client.ask(
                *("PATCH", "/items/1", {"title": TYPED["title"]}),
                Traceparent=f"00-{trace}-b7ad6b7169203331-01",
                Baggage=TYPED["title"],
            )
            metrics = client.ask("GET", "/metrics")
            assert server.stop() == 0
    places = files(server) | {
        "metrics": metrics,
        "traces": receiver.under("/v1/traces"),
        "Sentry": receiver.under("/api/1/envelope/"),
    }
    assert found(places, secrets | TYPED) == []
    # The controls: it was told of, everywhere.
    assert b'route="/items/{item_id}",status="500"' in metrics
    assert bytes.fromhex(trace) in places["traces"]
    assert b"PATCH /items/{item_id}" in places["traces"]
    assert b"CarelessError" in places["Sentry"]
    assert f"trace_id={trace}" in server.output
    assert "CarelessError" in server.output


def key_of_the_first_user(server: Server) -> bytes:
    """What opens all that is sealed for them."""
    with closing(sqlite3.connect(server.data / "vault.sqlite")) as vault:
        [(key,)] = vault.execute("SELECT key FROM keys WHERE subject = 'users/1'")
    assert isinstance(key, bytes)
    return key


def places_of(key: bytes, places: Mapping[str, bytes]) -> list[str]:
    """Where a key stands, as it is."""
    return [place for place, content in places.items() if key in content]


def test_what_is_erased_is_nowhere(tmp_path: Path) -> None:
    """Not in the log, a copy of it, the snapshots, the vault, the quarantine, the own log output.

    What is sealed there stays, so the key must be nowhere too, while the workers still run.
    """
    settings = {
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FILE": str(tmp_path / "data" / "server.log"),
    }
    server = Server(tmp_path / "data", 2, by_serve, settings)
    with server:
        client = Client(server.port)
        client.live()
        assert program(server, "snapshot").returncode == 0
    torn = server.log.read_bytes().splitlines(keepends=True)[1]
    with server.log.open("ab") as log:
        log.write(torn[: len(torn) // 2])
    with server:
        before, key = server.log.read_bytes(), key_of_the_first_user(server)
        assert places_of(key, files(server)) == ["vault.sqlite"]
        client.ask("DELETE", "/auth/me", {"password": PASSWORD})
        assert places_of(key, files(server)) == []
    kept = files(server) | {"a copy of the log": before}
    assert {Path(name).suffix for name in kept} >= {".jsonl", ".sqlite", ".snapshot", ".log"}
    assert any("quarantine" in name for name in kept)
    assert found(kept, TYPED) == []
    assert server.log.read_bytes().startswith(before)
    assert b'"user.erased"' in server.log.read_bytes()[len(before) :]
    assert program(server, "log", "verify").returncode == 0
    for command in (("log", "show"), ("state", "show"), ("log", "export", "--format", "db-json")):
        said = program(server, *command)
        assert said.returncode == 0, said.stderr
        assert found({" ".join(command): said.stdout.encode()}, TYPED) == []


def test_control_before_the_erasure_it_can_be_read(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, by_serve) as server:
        Client(server.port).live()
        said = program(server, "log", "export", "--format", "db-json").stdout.encode()
        assert len(found({"the export": said}, TYPED)) == len(TYPED) - 1  # It has no sessions.
