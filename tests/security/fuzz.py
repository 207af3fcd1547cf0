"""``python -m tests.security.fuzz``: send a million generated requests.

A complete request has exactly one answer; broken bytes have any number, and the connection ends. No
answer has a status of 500 or above, every refusal is a problem document of a known type, and every
answer has the required header fields. Afterwards the server has logged no traceback, exits with
status 0, and its log verifies.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from eventapi.http.problem_types import PROBLEMS
from eventapi.testing.items import ITEMS
from events.verification.verify import verify
from tests.end_to_end.server import Command, Server, by_serve
from tests.security.raw import Answer, Wire, ask, json_request, request
from tests.security.requests import Generated, RequestGenerator

PASSWORD = "correct horse battery staple"
USERS = 3
REQUESTS_PER_RENEWAL = 200
"""Sessions are renewed after so many requests, because some requests end them."""

SHOWN_FAILURES = 10
MAX_FAILURES = 100


class Figures(msgspec.Struct):
    """Counts of answers by status, problem and operation, and the failures."""

    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    problems: Counter[str] = msgspec.field(default_factory=Counter)
    operations: Counter[str] = msgspec.field(default_factory=Counter)
    requests: int = 0
    broken: int = 0
    failures: list[str] = []

    def add(self, other: Figures) -> None:
        """Add the figures of another process."""
        self.statuses.update(other.statuses)
        self.problems.update(other.problems)
        self.operations.update(other.operations)
        self.requests += other.requests
        self.broken += other.broken
        self.failures += other.failures


class Fuzzer:
    """One client with the sessions of several users."""

    def __init__(self, port: int, seed: int) -> None:
        self.figures = Figures()
        self._port = port
        self._seed = seed
        self._users = 0
        document = ask(port, request("GET /openapi.json HTTP/1.1")).json()
        tokens = [self._new_token() for _ in range(USERS)]
        self._generator = RequestGenerator(Random(seed), document, tokens)
        self._wire = Wire(port)

    def run(self, count: int) -> Figures:
        """Send ``count`` requests."""
        for number in range(count):
            if number % REQUESTS_PER_RENEWAL == 0:
                self._renew_sessions()
            self._send(self._generator.generate())
            if len(self.figures.failures) >= MAX_FAILURES:
                break
        return self.figures

    def _send(self, made: Generated) -> None:
        self.figures.requests += 1
        self.figures.operations[made.operation] += 1
        try:
            if made.whole:
                self._judge(self._ask(made), made)
            else:
                self.figures.broken += 1
                for answer in self._ask_broken(made):
                    self._judge(answer, made)
        except (OSError, EOFError, ValueError, AssertionError) as error:
            self.figures.failures.append(f"{error!r} after {made.data[:2_000]!r}")
            self._wire = Wire(self._port)

    def _ask(self, made: Generated) -> Answer:
        self._wire.send(made.data)
        answer = self._wire.answer(made.method)
        if answer.all("connection") == ["close"]:
            self._wire.socket.close()
            self._wire = Wire(self._port)
        return answer

    def _ask_broken(self, made: Generated) -> list[Answer]:
        """All answers to broken bytes, after which the client closes its direction."""
        answers = []
        with Wire(self._port) as wire:
            with suppress(ConnectionError):  # The server may refuse before all is sent.
                wire.send(made.data)
                wire.socket.shutdown(socket.SHUT_WR)
            with suppress(EOFError, ConnectionResetError):
                while True:
                    answers.append(wire.answer("HEAD" if b"HEAD " in made.data else "GET"))
        return answers

    def _judge(self, answer: Answer, made: Generated) -> None:
        self.figures.statuses[answer.status] += 1
        wrong = wrong_with(answer, made.method) or wrong_shape(answer, made)
        if answer.status >= 400 and answer.body:
            self.figures.problems[answer.json().get("type", "")] += 1
        if wrong:
            self.figures.failures.append(f"{wrong}: {answer} to {made.data[:2_000]!r}")

    def _renew_sessions(self) -> None:
        tokens = self._generator.authorizations
        for number, token in enumerate(tokens):
            me = request("GET /auth/me HTTP/1.1", f"Authorization: Bearer {token}")
            if ask(self._port, me).status != 200:
                tokens[number] = self._new_token()

    def _new_token(self) -> str:
        self._users += 1
        name = f"p{self._seed}-{self._users}"
        user = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert ask(self._port, json_request("POST", "/auth/register", user)).status == 200
        known = {"username": name, "password": PASSWORD}
        answer = ask(self._port, json_request("POST", "/auth/login", known))
        return str(answer.json()["access_token"])


def wrong_with(answer: Answer, method: str) -> str:
    """The reason why an answer is wrong; empty if it is correct."""
    if answer.status >= 500:
        return "a failure of the server"
    for name in ("x-request-id", "x-content-type-options", "content-security-policy"):
        if len(answer.all(name)) != 1:
            return f"not one {name}"
    try:
        if answer.status >= 400 and method != "HEAD":
            if answer.problem not in PROBLEMS:
                return "an unknown problem type"
        elif answer.all("content-type") == ["application/json"] and answer.body:
            answer.json()
    except (AssertionError, KeyError, ValueError):
        return "a malformed document"
    return ""


def wrong_shape(answer: Answer, made: Generated) -> str:
    """The reason why an error has a wrong shape; empty if it is correct.

    Bytes that are refused before their path was read belong to no version.
    """
    if answer.status < 400 or not made.whole:
        return ""
    path = made.data.split(b" ", 2)[1].partition(b"?")[0]
    is_json = answer.all("content-type") == ["application/json"]
    if path.startswith(b"/api/v2/") and is_json:
        return "an error of version 1 in version 2"
    is_v1 = path.startswith((b"/api/v1/", b"/auth/", b"/items/"))
    if is_v1 and answer.status in {401, 404, 405, 409, 412, 415, 422} and not is_json:
        return "a problem document in version 1"
    return ""


def _fuzz(port: int, seed: int, count: int) -> Figures:
    return Fuzzer(port, seed).run(count)


def fuzz(
    directory: Path, requests: int, seed: int, clients: int, command: Command = by_serve
) -> Figures:
    """Start a server and fuzz it; check its output and its log, too."""
    figures = Figures()
    with Server(directory / "data", 1, command) as server:
        with ProcessPoolExecutor(clients) as pool:
            shares = [
                pool.submit(_fuzz, server.port, seed * 1_000 + number, requests // clients)
                for number in range(clients)
            ]
            for share in shares:
                figures.add(share.result())
        if server.stop() != 0:
            figures.failures.append("the server did not exit with status 0")
    if "Traceback" in server.output:
        figures.failures.append(f"a traceback: {server.output[-2_000:]}")
    if not verify(server.log, vocabulary=ITEMS).ok:
        figures.failures.append("the log does not verify")
    return figures


def main() -> int:
    """Print the figures and return the exit status: 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=3)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        figures = fuzz(Path(name), options.requests, options.seed, options.clients)
    _print("requests", figures.requests)
    _print("of them broken bytes", figures.broken)
    _print("operations of the document", len(figures.operations))
    for status, count in sorted(figures.statuses.items()):
        _print(f"answers of status {status}", count)
    for problem, count in sorted(figures.problems.items()):
        _print(problem, count)
    _print("seconds", round(time.monotonic() - started))
    _print("failures", len(figures.failures))
    for failure in figures.failures[:SHOWN_FAILURES]:
        print(failure[:3_000])  # noqa: T201
    return 1 if figures.failures else 0


def _print(name: str, figure: Any) -> None:
    print(f"{name:<44}{figure:>12,}", flush=True)  # noqa: T201 - it prints its table


if __name__ == "__main__":
    sys.exit(main())
