"""Webhooks of a real server whose receiver and whose processes fail at random.

Requests write items all the time. Meanwhile the receiver refuses, stalls, closes in the middle of an
answer and restarts, and workers, the holder and all processes of the server are killed. At the end, the
receiver must have every event of the log after the creation of the webhook, in order, and each
signature must be right.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from standardwebhooks import Webhook as Verifier

from tests.end_to_end.server import Server, by_serve, free_port, wait_for_end

PASSWORD = "correct horse battery staple"
ITEMS_PER_BATCH = 50


class Report(msgspec.Struct, frozen=True):
    """What happened; ``repeats`` of accepted events need a kill or an answer that got lost."""

    events: int
    skipped: list[int]
    out_of_order: list[tuple[int, int]]
    repeats: int
    kills: dict[str, int]
    faults: dict[str, int]
    bad_signatures: int

    @property
    def permitted_repeats(self) -> int:
        """One for each kill, and for each answer that the server did not get.

        A restart of the receiver may lose an answer, too.
        """
        lost = sum(self.faults.get(kind, 0) for kind in ("close", "tear", "restart"))
        return sum(self.kills.values()) + lost


class UnreliableReceiver:
    """A receiver that fails at random; ``accepted`` has the positions that it handled, in order."""

    def __init__(self, rng: random.Random, failure_rate: float) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.secret = ""
        self.accepted: list[int] = []
        self.faults: Counter[str] = Counter()
        self.bad_signatures = 0
        self.is_reliable = False
        self._rng = rng
        self._failure_rate = failure_rate
        self._start()

    def _start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # So that connections are kept.

            def do_POST(self) -> None:
                receiver.receive(self)

            def log_message(self, *_: object) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def restart(self) -> None:
        """Be unreachable for a moment."""
        self.faults["restart"] += 1
        self.stop()
        time.sleep(self._rng.random())
        self._start()

    def receive(self, handler: BaseHTTPRequestHandler) -> None:
        """Handle a delivery, or fail before, during or after it."""
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        is_failing = not self.is_reliable and self._rng.random() < self._failure_rate
        kind = self._rng.choice(["refuse", "stall", "close", "tear"]) if is_failing else ""
        if kind:
            self.faults[kind] += 1
        if kind == "refuse":
            handler.send_error(self._rng.choice([404, 429, 500, 503]))
            return
        try:
            Verifier(self.secret).verify(body, headers)
        except Exception:
            self.bad_signatures += 1
        self.accepted.append(int(headers["webhook-id"].partition("/")[2]))
        if kind == "stall":
            time.sleep(self._rng.random() * 2)
        handler.close_connection = kind in {"close", "tear"}
        if kind == "close":
            return
        if kind == "tear":
            handler.wfile.write(b"HTTP/1.1 20")
            return
        handler.send_response(204)
        handler.end_headers()


class Writer(threading.Thread):
    """Writes items until the log has enough events; a server that is killed is asked again."""

    def __init__(self, server: Server, token: str, events: int) -> None:
        super().__init__()
        self._server = server
        self._token = token
        self._batches = events // ITEMS_PER_BATCH
        self.written = 0

    def run(self) -> None:
        body = {"method": "POST", "path": "/items", "body": {"title": "a canary title"}}
        while self.written < self._batches:
            with suppress(OSError, http.client.HTTPException, ValueError, RuntimeError):
                requests = {"requests": [body] * ITEMS_PER_BATCH}
                request(self._server, "POST", "/batch", requests, self._token)
                self.written += 1
            time.sleep(0.02)


def request(server: Server, method: str, path: str, body: object, token: str = "") -> Any:
    """Send a request to version 2 and return the body; raises `RuntimeError` for a refusal."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    try:
        connection.request(method, f"/api/v2{path}", json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {content!r}")
    return json.loads(content) if content else None


def holders(server: Server) -> list[int]:
    """The processes that hold the lease of a webhook."""
    inodes = {str(path.stat().st_ino) for path in server.data.glob("followers.webhook-*.lock")}
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        int(line[4])
        for line in lines
        if line[1] == "FLOCK" and line[5].rpartition(":")[2] in inodes
    ]


def kill_something(server: Server, rng: random.Random) -> str:
    """Kill a worker, the holder, the supervisor or all processes; return which.

    The supervisor starts a worker again, and this starts the others. Workers that lost their
    supervisor end by themselves.
    """
    kind = rng.choice(["worker", "holder", "holder", "supervisor", "all"])
    if kind in {"supervisor", "all"}:
        if kind == "all":
            server.kill()
        else:
            wait_for_end(server.kill_supervisor())
        server.launch()
        server.wait_until_ready()
        return kind
    found = (holders(server) if kind == "holder" else []) or [*server.worker_pids()]
    for pid in found[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return kind


def run(  # noqa: PLR0917 - a campaign has many numbers
    data: Path, events: int, kills: int, failure_rate: float, seed: int, workers: int = 2
) -> Report:
    """Run a campaign, and compare what the receiver accepted with the log."""
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    receiver = UnreliableReceiver(rng, failure_rate)
    settings = {"EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES": "on", "EVENTAPI_LOG_LEVEL": "error"}
    try:
        with Server(data, workers, by_serve, settings) as server:
            token = _prepare(server, receiver)
            writer = Writer(server, token, events)
            writer.start()
            for done in range(kills):
                until_share = len(receiver.accepted) + events // (kills + 1) // 2
                deadline = time.monotonic() + 20
                while len(receiver.accepted) < until_share and time.monotonic() < deadline:
                    time.sleep(rng.random() / 10)
                killed[kill_something(server, rng)] += 1
                if done % 5 == 4:
                    receiver.restart()
            writer.join()
            receiver.is_reliable = True
            wanted = _wanted(server)
            deadline = time.monotonic() + 120 + events / 20
            while receiver.accepted[-1:] != wanted[-1:] and time.monotonic() < deadline:
                time.sleep(0.1)
        return _report(wanted, receiver, killed)
    finally:
        receiver.stop()


def _prepare(server: Server, receiver: UnreliableReceiver) -> str:
    """Register an operator and create the webhook; the token of the operator."""
    new = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    request(server, "POST", "/auth/register", new)
    arguments = ["--data", str(server.data), "users", "grant", "root", "operator"]
    subprocess.run([sys.executable, "-m", "eventapi", *arguments], check=True, capture_output=True)
    login = {"username": "root", "password": PASSWORD}
    token: str = request(server, "POST", "/auth/login", login)["access_token"]
    created = request(server, "POST", "/webhooks", {"url": receiver.url}, token)
    receiver.secret = created["secret"]
    return token


def _wanted(server: Server) -> list[int]:
    """The positions of all events after the creation of the webhook."""
    types = [json.loads(line)["type"] for line in server.log.read_bytes().splitlines()]
    first = types.index("webhook.created") + 1
    return [
        position
        for position, kind in enumerate(types, 1)
        if position > first and not kind.startswith("webhook.")
    ]


def _report(wanted: list[int], receiver: UnreliableReceiver, killed: Mapping[str, int]) -> Report:
    accepted = receiver.accepted
    place = {position: number for number, position in enumerate(wanted)}
    jumps = [
        (before, after)
        for before, after in pairwise(accepted)
        # An event is repeated, or the next one follows.
        if place[after] - place[before] not in {0, 1}
    ]
    return Report(
        len(wanted),
        sorted(set(wanted) - set(accepted)),
        jumps,
        len(accepted) - len(set(accepted)),
        dict(killed),
        dict(receiver.faults),
        receiver.bad_signatures,
    )


def check(report: Report) -> None:
    """Raise `AssertionError` if a promise was broken."""
    assert report.skipped == []
    assert report.out_of_order == []
    assert report.bad_signatures == 0
    # At most the delivery that was not acknowledged is repeated.
    assert report.repeats <= report.permitted_repeats, report
