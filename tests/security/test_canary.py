"""Secrets and erased data appear in no file and no output of a server.

The tests send unique values to a real server and search everything that it stores and prints.
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
    """Sends requests, and keeps the answers that must not contain the user's data."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.token = ""
        self.public_answers = b""

    def ask(
        self, method: str, path: str, body: object = None, *, private: bool = False, **headers: str
    ) -> Any:
        """Return the decoded answer; one that is ``private`` to the user is not searched."""
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
            self.public_answers += head + content
        try:
            return json.loads(content) if content else None
        except ValueError:
            return content

    def use_everything(self) -> dict[str, str]:
        """Use an account, sessions and items, send bad requests; return the secret tokens."""
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
        # The refusal repeats the taken name to the client that sent it.
        self.ask("POST", "/auth/register", account | {"password": PASSWORD}, private=True)
        # None of the following answers may contain data of the user.
        self.ask("POST", "/auth/register", account | {"password": PASSWORD, "roles": [PASSWORD]})
        self.ask("POST", "/auth/login", {"username": "nobody", "password": PASSWORD})
        self.ask("POST", "/auth/login", {"username": 7, "password": [PASSWORD]})
        self.ask("POST", "/auth/login", f'{{"password": "{PASSWORD}", '.encode())
        self.ask("POST", "/auth/refresh", {"refresh_token": renewed["refresh_token"] + "x"})
        self.ask("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "x"})
        self.ask("GET", f"/items/{PASSWORD}")
        # The path of an unknown route is logged at debug, so this one contains no secret.
        self.ask("GET", "/unknown", Authorization=f"Bearer {self.token}x")
        self.ask("GET", "/auth/me", Authorization=f"Bearer {KEY}")
        # Version 1 repeats bad values to the caller, as FastAPI does, except those of accounts.
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
    """The forms of a value: plain, in hex, in base64 at any offset, in a URL."""
    plain = value.encode()
    yield from (plain, plain.hex().encode(), quote(value).encode(), value.upper().encode())
    for skipped in range(3):
        # Without the first and the last letters, because they depend on the neighbours.
        inner = base64.b64encode(b"\0" * skipped + plain)[4 if skipped else 0 : -4]
        yield from (inner, inner.replace(b"+", b"-").replace(b"/", b"_"))


def find(places: Mapping[str, bytes], values: Mapping[str, str]) -> list[str]:
    """The values that occur in a place, each with the place."""
    return [
        f"{name} in {place}"
        for place, content in places.items()
        for name, value in values.items()
        if any(spelling in content for spelling in spellings(value))
    ]


def find_typed(places: Mapping[str, bytes]) -> list[str]:
    """The typed values in a place.

    Until an erasure, a mail in the outbox has the name and the address of its recipient.
    """
    mails = [place for place in places if place.startswith("outbox/")]
    expected = {f"{name} in {place}" for place in mails for name in ("username", "email")}
    return [one for one in find(places, TYPED) if one not in expected]


def files(server: Server) -> dict[str, bytes]:
    """Every file of the server by name, and its output."""
    kept = {
        str(path.relative_to(server.data)): path.read_bytes()
        for path in server.data.rglob("*")
        if path.is_file()
    }
    return kept | {"its output": server.output.encode()}


def run_cli(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `eventapi` on the server's data."""
    return subprocess.run(
        [sys.executable, "-m", "eventapi", "--data", str(server.data), *arguments],
        cwd=server.data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_stored_or_printed(tmp_path: Path, log_format: str) -> None:
    settings = {
        "EVENTAPI_SECRET_KEY": KEY,
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FORMAT": log_format,
        "EVENTAPI_LOG_FILE": str(tmp_path / "data" / "server.log"),
    }
    with Server(tmp_path / "data", 2, by_serve, settings) as server:
        client = Client(server.port)
        secrets = {"key": KEY, "password": PASSWORD} | client.use_everything()
        run_cli(server, "snapshot")
        places = files(server) | {"public answers": client.public_answers}
        assert find(places, secrets) == []
        assert find(places, {"argon2": "$argon2"}) == []
        assert find_typed(places) == []
        # The controls: the server logged the request, and the search finds a value.
        assert "/auth/login" in server.output
        assert find({"place": f"a {KEY}".encode()}, {"key": KEY}) == ["key in place"]
        assert find({"place": base64.b64encode(f"a{KEY}".encode())}, {"key": KEY})


def test_metrics_traces_and_error_reports_contain_no_personal_data(tmp_path: Path) -> None:
    """Not even if a handler is careless.

    The handler raises an error that quotes the whole request.
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
            secrets = {"key": KEY, "password": PASSWORD} | client.use_everything()
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
    assert find(places, secrets) == []
    assert find_typed(places) == []
    # The controls: each of them got the error.
    assert b'route="/items/{item_id}",status="500"' in metrics
    assert bytes.fromhex(trace) in places["traces"]
    assert b"PATCH /items/{item_id}" in places["traces"]
    assert b"CarelessError" in places["Sentry"]
    assert f"trace_id={trace}" in server.output
    assert "CarelessError" in server.output


def key_of_the_first_user(server: Server) -> bytes:
    """The key that decrypts the sealed data of the first user."""
    with closing(sqlite3.connect(server.data / "vault.sqlite")) as vault:
        [(key,)] = vault.execute("SELECT key FROM keys WHERE subject = 'users/1'")
    assert isinstance(key, bytes)
    return key


def places_of(key: bytes, places: Mapping[str, bytes]) -> list[str]:
    """The places that contain a key."""
    return [place for place, content in places.items() if key in content]


def test_erased_data_is_in_no_file_and_no_output(tmp_path: Path) -> None:
    """Not in any log, copy, snapshot, vault, quarantine or output.

    Sealed data remains, so the key must be gone, too, even while the workers run.
    """
    settings = {
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FILE": str(tmp_path / "data" / "server.log"),
    }
    server = Server(tmp_path / "data", 2, by_serve, settings)
    with server:
        client = Client(server.port)
        client.use_everything()
        assert run_cli(server, "snapshot").returncode == 0
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
    assert find(kept, TYPED) == []
    assert server.log.read_bytes().startswith(before)
    assert b'"user.erased"' in server.log.read_bytes()[len(before) :]
    assert run_cli(server, "log", "verify").returncode == 0
    for command in (("log", "show"), ("state", "show"), ("log", "export", "--format", "db-json")):
        done = run_cli(server, *command)
        assert done.returncode == 0, done.stderr
        assert find({" ".join(command): done.stdout.encode()}, TYPED) == []


def test_control_before_an_erasure_the_data_can_be_read(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, by_serve) as server:
        Client(server.port).use_everything()
        done = run_cli(server, "log", "export", "--format", "db-json").stdout.encode()

        assert (
            len(find({"the export": done}, TYPED)) == len(TYPED) - 1
        )  # The export has no sessions.
