"""Three instances over one PostgreSQL: another one delivers for one that is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from eventapi.followers.sql import LEASE_SECONDS
from eventapi.webhooks.tasks import ACQUIRE_SECONDS
from tests.end_to_end.server import ROOT, Server, uvicorn_of
from tests.end_to_end.waiting import wait_until
from tests.eventapi.webhooks.receiver import Delivery, Receiver, receiving
from tests.servers.postgresql import PostgreSQL

short_lease = uvicorn_of("tests.end_to_end.planted_accounts:short_lease")
PASSWORD = "correct horse battery staple"
HANG_SECONDS = 120.0
"""Only ends a test that would hang."""


def test_another_instance_may_continue_within_30_seconds() -> None:
    """The lease is good to the end of its last second, and then it is tried again."""
    assert LEASE_SECONDS + 1 + ACQUIRE_SECONDS < 30


@contextmanager
def instances(folder: Path, postgresql: PostgreSQL) -> Iterator[list[Server]]:
    """Three instances with data directories of their own, over one new database."""
    settings = {
        "EVENTAPI_LOG": postgresql.new_database(),
        "EVENTAPI_SECRET_KEY": "a key that all of the instances have " * 2,
        "EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES": "on",
    }
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(folder / name, 1, short_lease, settings))
            for name in ("one", "two", "three")
        ]
        register = {"username": "root", "email": "root@example.org", "password": PASSWORD}
        assert post(servers[0], "/auth/register", register, "").status_code == 201
        data = {"EVENTAPI_DATA": str(servers[0].data), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "eventapi", "users", "grant", "root", "operator"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | settings | data)
        yield servers


def post(server: Server, path: str, body: object, token: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.post(f"{server.url}/api/v2{path}", json=body, headers=headers, timeout=60)


def create_items(server: Server, token: str, count: int) -> list[int]:
    """Create items; the positions of their events."""
    answers = [post(server, "/items", {"title": "a title"}, token) for _ in range(count)]
    assert [one.status_code for one in answers] == [201] * count
    return [int(one.headers["event-position"]) for one in answers]


def attempts(server: Server) -> int:
    """The deliveries that an instance has completed or failed."""
    metrics = httpx.get(f"{server.url}/metrics", timeout=60).text
    name = 'eventapi_webhook_attempts_total{id="1"}'
    return sum(int(float(one.split()[-1])) for one in metrics.splitlines() if name in one)


class Stopping:
    """The answers of a receiver: a late delivery has none, or fails, until a process is stopped."""

    def __init__(self, receiver: Receiver, *, is_failing: bool) -> None:
        self.receiver = receiver
        self.late: int | None = None
        self.reached = threading.Event()
        self.may_answer = threading.Event()
        self.accepted: list[int] = []
        self.in_parallel: list[set[int]] = []
        self._is_failing = is_failing
        self._open: set[int] = set()
        receiver.answer = self.answer

    def answer(self, delivery: Delivery) -> int:
        position = delivery.position
        if position == self.late and self._is_failing and not self.may_answer.is_set():
            self.reached.set()
            return 503
        if position == self.late and not self.reached.is_set():
            self.reached.set()
            self.accepted.append(position)
            self.may_answer.wait(HANG_SECONDS)
            return 204
        if self._open:
            self.in_parallel.append({*self._open, position})
        self._open.add(position)
        time.sleep(0.02)
        self._open.discard(position)
        self.accepted.append(position)
        return 204


def repeats(accepted: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The events that came again; the first deliveries of all must be in order."""
    assert [*dict.fromkeys(accepted)] == [*wanted]
    found, seen = [], 0
    for position in accepted:
        if position <= seen:
            found.append(position)
        seen = max(seen, position)
    return found


@pytest.mark.long
@pytest.mark.parametrize("moment", ["in a delivery", "in a pause"])
def test_a_stopped_instance_is_replaced_and_sends_nothing_when_it_continues(
    tmp_path: Path, postgresql: PostgreSQL, moment: str
) -> None:
    with receiving() as receiver, instances(tmp_path, postgresql) as servers:
        answers = Stopping(receiver, is_failing=moment == "in a pause")
        login = {"username": "root", "password": PASSWORD}
        token = post(servers[0], "/auth/login", login, "").json()["access_token"]
        created = post(servers[0], "/webhooks", {"url": receiver.url, "types": ["item.*"]}, token)
        wanted = create_items(servers[0], token, 4)
        wait_until(lambda: answers.accepted == wanted, HANG_SECONDS)

        answers.late = wanted[-1] + 1
        wanted += create_items(servers[1], token, 1)
        assert answers.reached.wait(HANG_SECONDS)
        stopped, *others = sorted(servers, key=attempts, reverse=True)
        if moment == "in a pause":  # An attempt has just ended, and the next one is seconds away.
            count = attempts(stopped)
            wait_until(lambda: attempts(stopped) > count)
        before = attempts(stopped)
        assert [attempts(one) for one in others] == [0, 0]
        os.kill(stopped.pid, signal.SIGSTOP)
        begun = time.monotonic()
        if moment == "in a pause":
            answers.may_answer.set()
        try:
            wanted += create_items(others[0], token, 6)
            wait_until(lambda: answers.accepted[-1] == wanted[-1], HANG_SECONDS)
            print(f"{moment}: {time.monotonic() - begun:.1f} s")  # noqa: T201 - with pytest -s
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
            answers.may_answer.set()
        wanted += create_items(stopped, token, 4)
        wait_until(lambda: answers.accepted[-1] == wanted[-1], HANG_SECONDS)
        wait_until(lambda: attempts(stopped) >= before + (moment == "in a delivery"))
        time.sleep(2)
        late = [answers.late] if moment == "in a delivery" else []
        assert repeats(answers.accepted, wanted) == late
        assert answers.in_parallel == []
        assert attempts(stopped) == before + len(late)
        secret = created.json()["secret"]
        assert all(one.verify(secret) for one in receiver.deliveries[-4:])


def test_control_a_skipped_event_and_one_out_of_order_are_found() -> None:
    assert repeats([1, 2, 2, 3], [1, 2, 3]) == [2]
    for accepted in ([1, 3], [1, 3, 2]):
        with pytest.raises(AssertionError):
            repeats(accepted, [1, 2, 3])
