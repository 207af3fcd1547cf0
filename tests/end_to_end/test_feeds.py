"""Followers of the log see every event once and in order, whatever happens to the workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventapi.commands.users import RegisterUser
from eventapi.http.routes.events import MAX_STREAMS
from eventapi.testing.given import profile
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn, uvicorn_of
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import clean_environment, written_together

SECONDS = 60.0
KILLS = 4
WRITES = 400
MANY = 20_000


class Event(msgspec.Struct, frozen=True):
    """A server-sent event."""

    id: int
    event: str
    data: Any


class Account:
    """Somebody who asks one request after the other, and again where there was no answer."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.token = ""
        body = {"username": name, "password": PASSWORD}
        self.ask("POST", "/auth/register", body | {"email": f"{name}@example.org"})
        self.token = self.ask("POST", "/auth/login", body)["access_token"]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {} | more

    def ask(self, method: str, path: str, body: object = None) -> Any:
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
                assert time.monotonic() < deadline, "nobody answers"
            finally:
                connection.close()
            time.sleep(0.05)

    def grant(self, role: str) -> None:
        command = [sys.executable, "-m", "eventapi", "--data", str(self.server.data)]
        command += ["users", "grant", self.name, role]
        subprocess.run(command, check=True, capture_output=True, env=clean_environment())


def events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events of a stream that are whole."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if line == b"\n" and "data" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        fields = fields | {name: value} if line != b"\n" else {}


class Follower(threading.Thread):
    """Follows a stream like a browser does: where it breaks off, it goes on behind the last one."""

    def __init__(self, account: Account, path: str, after: int) -> None:
        super().__init__(daemon=True)
        self.account = account
        self.path = path
        self.after = after
        self.seen: list[Event] = []
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
                for event in events(iter(answer.readline, b"")):
                    self.seen.append(event)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()

    def wait_for(self, position: int) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.seen or self.seen[-1].id < position:
            assert time.monotonic() < deadline, (len(self.seen), position)
            time.sleep(0.02)
        self.is_over = True


def test_followers_see_everything_once_and_in_order_while_workers_are_killed(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "data", 2, by_serve) as server:
        writer, other, auditor = (Account(server, name) for name in ("writer", "other", "auditor"))
        auditor.grant("auditor")
        everything = Follower(auditor, "/audit/events", 0)
        own = Follower(writer, "/items/events", 0)
        deletions = Follower(auditor, "/audit/events?type=item.deleted", 0)
        followers = [everything, own, deletions]
        for follower in followers:
            follower.start()
        for number in range(WRITES):
            item = writer.ask("POST", "/items", {"title": f"title {number}"})
            other.ask("POST", "/items", {"title": "another's"})
            if number % 5 == 0:
                writer.ask("PATCH", f"/items/{item['id']}", {"title": "changed"})
            if number % (WRITES // KILLS) == WRITES // KILLS - 1:
                with suppress(ProcessLookupError):  # The one before may be just gone.
                    os.kill(min(server.worker_pids()), signal.SIGKILL)
        last = writer.ask("POST", "/items", {"title": "the last"})
        writer.ask("DELETE", f"/items/{last['id']}")
        lines = server.log.read_bytes().splitlines()
        for follower in followers:
            follower.wait_for(len(lines))
        assert server.stop() == 0
    records = [json.loads(line) for line in lines]
    assert [event.id for event in everything.seen] == list(range(1, len(lines) + 1))
    assert [event.data for event in everything.seen] == records
    mine = [one for one in records if one["actor"] == "users/1" and one["subject"][:5] == "items"]
    assert [(event.id, event.event) for event in own.seen] == [
        (int(one["id"]), one["type"]) for one in mine
    ]
    titles = {event.data["changes"].get("title") for event in own.seen}
    assert {"title 0", "changed", "the last"} <= titles
    assert "another's" not in titles
    assert [event.id for event in deletions.seen] == [len(lines)]
    assert everything.connections > 1


def test_raw_lines_come_once_and_in_order_while_workers_are_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    users = [RegisterUser(profile(f"user{number}")) for number in range(MANY)]
    written_together(data, users)
    with Server(data, 2, by_serve) as server:
        auditor, writer = Account(server, "auditor"), Account(server, "writer")
        auditor.grant("auditor")
        kills = 0
        seen: list[bytes] = []
        while kills < KILLS or len(seen) < len(server.log.read_bytes().splitlines()):
            connection = auditor.connect()
            accept = {"Accept": "application/x-ndjson"}
            # A last line without its newline was cut off, and comes again.
            with suppress(OSError, http.client.HTTPException):
                path = f"/audit/events?after={len(seen)}"
                connection.request("GET", path, headers=auditor.headers() | accept)
                answer = connection.getresponse()
                while answer.status == 200 and (line := answer.readline()).endswith(b"\n"):
                    seen.append(line[:-1])
                    if kills < KILLS and len(seen) > (kills + 1) * MANY // (KILLS + 1):
                        kills += 1
                        for pid in server.worker_pids():
                            os.kill(pid, signal.SIGKILL)
            connection.close()
            if kills < KILLS:
                writer.ask("POST", "/items", {"title": "meanwhile"})
        assert seen == server.log.read_bytes().splitlines()
        assert server.stop() == 0


@pytest.mark.parametrize("command", [by_serve, by_uvicorn])
def test_a_server_that_is_asked_to_end_does_not_wait_for_followers(
    tmp_path: Path, command: Command
) -> None:
    with Server(tmp_path / "data", 1, command) as server:
        ann = Account(server, "ann")
        connection = ann.connect()
        connection.request("GET", "/items/events", headers=ann.headers())
        answer = connection.getresponse()
        assert answer.readline() == b":\n"
        # Uvicorn by itself ends by the signal that it was sent.
        assert server.stop() in {0, -signal.SIGTERM}
        assert answer.read().strip() == b""
        answer.close()
        connection.close()
        assert "Traceback" not in server.output


def test_who_is_logged_out_follows_no_more(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 2, by_serve) as server:
        ann = Account(server, "ann")
        connection = ann.connect()
        # As a browser's EventSource has to, which sends no headers of ours.
        connection.request(
            "GET",
            f"/items/events?access_token={ann.token}",
            headers={"Accept": "text/event-stream"},
        )
        answer = connection.getresponse()
        assert answer.status == 200
        item = ann.ask("POST", "/items", {"title": "x"})
        assert next(events(iter(answer.readline, b""))).data["item"] == item["id"]
        ann.ask("POST", "/auth/logout")
        assert answer.read() == b""
        connection.close()
        assert ann.token not in server.output


def test_one_has_only_so_many_streams_open(tmp_path: Path) -> None:
    quick = uvicorn_of("tests.end_to_end.planted:quick_heartbeats")
    with Server(tmp_path / "data", 1, quick) as server:
        ann, bob = Account(server, "ann"), Account(server, "bob")

        def opened(account: Account) -> tuple[http.client.HTTPConnection, int]:
            connection = account.connect()
            connection.request("GET", "/items/events", headers=account.headers())
            answer = connection.getresponse()
            if answer.status == 200:
                answer.readline()  # It has begun, and so is counted.
            return connection, answer.status

        with ExitStack() as open_ones:
            statuses = []
            for _ in range(MAX_STREAMS + 1):
                connection, status = opened(ann)
                open_ones.callback(connection.close)
                statuses.append(status)
            assert statuses == [200] * MAX_STREAMS + [503]
            connection, status = opened(bob)
            open_ones.callback(connection.close)
            assert status == 200
            open_ones.pop_all().close()
        deadline = time.monotonic() + SECONDS
        while True:
            connection, status = opened(ann)
            connection.close()
            if status == 200:
                break
            assert time.monotonic() < deadline, "what is closed is still counted"
            time.sleep(0.05)


def test_a_token_in_the_query_is_for_streams_alone(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, by_serve) as server:
        ann = Account(server, "ann")
        connection = ann.connect()
        connection.request("GET", f"/auth/me?access_token={ann.token}")
        assert connection.getresponse().status == 401
        connection.close()
