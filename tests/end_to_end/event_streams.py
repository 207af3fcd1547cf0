"""Clients of event streams: a user that retries, a subscriber that reconnects."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.end_to_end.server import Server
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import clean_environment

SECONDS = 60.0


class ServerSentEvent(msgspec.Struct, frozen=True):
    """A server-sent event."""

    id: int
    event: str
    data: Any


class RetryingUser:
    """A user that sends one request at a time, and repeats it until it is answered."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.token = ""
        body = {"username": name, "password": PASSWORD}
        self.request("POST", "/auth/register", body | {"email": f"{name}@example.org"})
        self.token = self.request("POST", "/auth/login", body)["access_token"]

    def connect(self) -> http.client.HTTPConnection:
        """A new connection to any worker."""
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)

    def headers(self) -> dict[str, str]:
        """The Authorization header, once logged in."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send until the response is a success; until then only 503 or none is allowed."""
        deadline = time.monotonic() + SECONDS
        while True:
            connection = self.connect()
            try:
                content = None if body is None else json.dumps(body)
                headers = self.headers() | {"Content-Type": "application/json"}
                connection.request(method, path, content, headers)
                answer = connection.getresponse()
                if answer.status < 300:
                    return json.loads(answer.read() or b"null")
                assert answer.status == 503, answer.read()
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline, "the server does not answer"
            finally:
                connection.close()
            time.sleep(0.05)

    def grant(self, role: str) -> None:
        """Give the user a role, with the command line."""
        command = [sys.executable, "-m", "eventapi", "--data", str(self.server.data)]
        command += ["users", "grant", self.name, role]
        subprocess.run(command, check=True, capture_output=True, env=clean_environment())


def parse_events(lines: Iterator[bytes]) -> Iterator[ServerSentEvent]:
    """Parse the lines of a stream; yield its complete events."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if line == b"\n" and "data" in fields:
            yield ServerSentEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        fields = fields | {name: value} if line != b"\n" else {}


class Subscriber(threading.Thread):
    """Follows a stream as a browser does: it reconnects and resumes after a break."""

    def __init__(self, account: RetryingUser, path: str, after: int) -> None:
        super().__init__(daemon=True)
        self.account = account
        self.path = path
        self.after = after
        self.seen: list[ServerSentEvent] = []
        self.connections = 0
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            connection = self.account.connect()
            try:
                headers = self.account.headers() | {
                    "Accept": "text/event-stream",
                    "Last-Event-ID": str(self.seen[-1].id if self.seen else self.after),
                }
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                if answer.status != 200:
                    continue
                self.connections += 1
                for event in parse_events(iter(answer.readline, b"")):
                    self.seen.append(event)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()

    def wait_for(self, position: int) -> None:
        """Wait for the event at a position, then stop following."""
        deadline = time.monotonic() + SECONDS
        while not self.seen or self.seen[-1].id < position:
            assert time.monotonic() < deadline, (len(self.seen), position)
            time.sleep(0.02)
        self.is_over = True
