"""Event streams deliver events once and in order, also while workers are killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.http.routes.events import MAX_STREAMS
from eventapi.testing.given import profile
from tests.end_to_end.event_streams import SECONDS, RetryingUser, Subscriber, parse_events
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn, uvicorn_of
from tests.eventapi.cli.running import written_together

KILLS = 4
WRITES = 400
USERS = 20_000


def test_subscribers_receive_every_event_once_in_order_while_workers_are_killed(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "data", 2, by_serve) as server:
        writer, other, auditor = (
            RetryingUser(server, name) for name in ("writer", "other", "auditor")
        )
        auditor.grant("auditor")
        everything = Subscriber(auditor, "/audit/events", 0)
        own = Subscriber(writer, "/items/events", 0)
        deletions = Subscriber(auditor, "/audit/events?type=item.deleted", 0)
        subscribers = [everything, own, deletions]
        for subscriber in subscribers:
            subscriber.start()
        for number in range(WRITES):
            item = writer.request("POST", "/items", {"title": f"title {number}"})
            other.request("POST", "/items", {"title": "another's"})
            if number % 5 == 0:
                writer.request("PATCH", f"/items/{item['id']}", {"title": "changed"})
            if number % (WRITES // KILLS) == WRITES // KILLS - 1:
                with suppress(ProcessLookupError):  # The worker killed before may be exiting.
                    os.kill(min(server.worker_pids()), signal.SIGKILL)
        last = writer.request("POST", "/items", {"title": "the last"})
        writer.request("DELETE", f"/items/{last['id']}")
        lines = server.log.read_bytes().splitlines()
        for subscriber in subscribers:
            subscriber.wait_for(len(lines))
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


def test_raw_lines_arrive_once_in_order_while_workers_are_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    users = [RegisterUser(profile(f"user{number}")) for number in range(USERS)]
    written_together(data, users)
    with Server(data, 2, by_serve) as server:
        auditor, writer = RetryingUser(server, "auditor"), RetryingUser(server, "writer")
        auditor.grant("auditor")
        kills = 0
        seen: list[bytes] = []
        while kills < KILLS or len(seen) < len(server.log.read_bytes().splitlines()):
            connection = auditor.connect()
            accept = {"Accept": "application/x-ndjson"}
            # The last line was cut off if it has no newline; the next request repeats it.
            with suppress(OSError, http.client.HTTPException):
                path = f"/audit/events?after={len(seen)}"
                connection.request("GET", path, headers=auditor.headers() | accept)
                answer = connection.getresponse()
                while answer.status == 200 and (line := answer.readline()).endswith(b"\n"):
                    seen.append(line[:-1])
                    if kills < KILLS and len(seen) > (kills + 1) * USERS // (KILLS + 1):
                        kills += 1
                        for pid in server.worker_pids():
                            os.kill(pid, signal.SIGKILL)
            connection.close()
            if kills < KILLS:
                writer.request("POST", "/items", {"title": "during kills"})
        assert seen == server.log.read_bytes().splitlines()
        assert server.stop() == 0


@pytest.mark.parametrize("command", [by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def test_shutdown_does_not_wait_for_open_streams(tmp_path: Path, command: Command) -> None:
    with Server(tmp_path / "data", 1, command) as server:
        ann = RetryingUser(server, "ann")
        connection = ann.connect()
        connection.request("GET", "/items/events", headers=ann.headers())
        answer = connection.getresponse()
        assert answer.readline() == b":\n"
        # Uvicorn exits with the signal that it received.
        assert server.stop() in {0, -signal.SIGTERM}
        assert answer.read().strip() == b""
        answer.close()
        connection.close()
        assert "Traceback" not in server.output


def test_logout_ends_the_stream_of_the_session(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 2, by_serve) as server:
        ann = RetryingUser(server, "ann")
        connection = ann.connect()
        # A browser's EventSource cannot send an Authorization header.
        connection.request(
            "GET",
            f"/items/events?access_token={ann.token}",
            headers={"Accept": "text/event-stream"},
        )
        answer = connection.getresponse()
        assert answer.status == 200
        item = ann.request("POST", "/items", {"title": "x"})
        assert next(parse_events(iter(answer.readline, b""))).data["item"] == item["id"]
        ann.request("POST", "/auth/logout")
        assert answer.read() == b""
        connection.close()
        assert ann.token not in server.output


def test_a_user_can_open_a_limited_number_of_streams(tmp_path: Path) -> None:
    quick = uvicorn_of("tests.end_to_end.planted:quick_heartbeats")
    with Server(tmp_path / "data", 1, quick) as server:
        ann, bob = RetryingUser(server, "ann"), RetryingUser(server, "bob")

        def open_stream(account: RetryingUser) -> tuple[http.client.HTTPConnection, int]:
            connection = account.connect()
            connection.request("GET", "/items/events", headers=account.headers())
            answer = connection.getresponse()
            if answer.status == 200:
                answer.readline()  # After the first line, the stream is counted.
            return connection, answer.status

        with ExitStack() as open_streams:
            statuses = []
            for _ in range(MAX_STREAMS + 1):
                connection, status = open_stream(ann)
                open_streams.callback(connection.close)
                statuses.append(status)
            assert statuses == [200] * MAX_STREAMS + [503]
            connection, status = open_stream(bob)
            open_streams.callback(connection.close)
            assert status == 200
            open_streams.pop_all().close()
        deadline = time.monotonic() + SECONDS
        while True:
            connection, status = open_stream(ann)
            connection.close()
            if status == 200:
                break
            assert time.monotonic() < deadline, "closed streams are still counted"
            time.sleep(0.05)


def test_access_token_in_the_query_is_accepted_for_streams_only(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, by_serve) as server:
        ann = RetryingUser(server, "ann")
        connection = ann.connect()
        connection.request("GET", f"/auth/me?access_token={ann.token}")
        assert connection.getresponse().status == 401
        connection.close()
