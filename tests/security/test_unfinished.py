"""Unfinished requests: their memory is bounded, and freed afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventapi.server.unfinished import UnfinishedRequests
from tests.end_to_end.server import Server
from tests.security.quick import VARIABLE, quick
from tests.security.raw import HOST, LIVE, Wire, ask

BOUND = 1_000_000
HEAD = b"GET /health/live HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 30_000
BODY = (
    b"POST /auth/login HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: application/json\r\nContent-Length: 30001\r\n\r\n"
    + b" " * 30_000
)
MANY_FIELDS = b"GET /health/live HTTP/1.1\r\n" + HOST + b"a:\r\n" * 99
KINDS = {"a long field": HEAD, "a body": BODY, "many fields": MANY_FIELDS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps at most a megabyte of unfinished requests."""
    changes = f"unfinished.MAX_UNFINISHED_BYTES={BOUND}"
    data = tmp_path_factory.mktemp("unfinished") / "data"
    with Server(data, 1, quick(), {VARIABLE: changes}) as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.output


def resident(pid: int) -> int:
    """The resident memory of a process in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", KINDS)
def test_beyond_the_bound_the_oldest_unfinished_requests_are_refused(port: int, kind: str) -> None:
    count = 100
    with ExitStack() as stack:
        wires = []
        for _ in range(count):
            wire = stack.enter_context(Wire(port))
            wire.send(KINDS[kind])
            wires.append(wire)
            # After this answer the server has parsed the bytes before it.
            assert ask(port, LIVE).status == 200
        first, last = wires[0], wires[-1]
        answer = first.answer()
        assert (answer.status, answer.problem) == (408, "request-timeout")
        assert answer.all("connection") == ["close"]
        assert first.is_closed()
        last.send(b" " if kind == "a body" else b"\r\n\r\n")
        assert last.answer().status in {200, 400}


def test_a_complete_request_is_never_refused(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(Wire(port)).send(HEAD)
            assert ask(port, HEAD, b"\r\n\r\n").status == 200


@pytest.mark.parametrize("line", [b"a:\r\n", b"a: b\r\n"])
def test_a_head_with_too_many_fields_is_refused_before_its_end(port: int, line: bytes) -> None:
    """A parsed field needs far more memory than its bytes."""
    with Wire(port) as wire:
        wire.send(b"GET /health/live HTTP/1.1\r\n", HOST, line * 2_000)
        answer = wire.answer()

        assert (answer.status, answer.problem) == (431, "headers-too-large")


def test_trailers_with_too_many_fields_are_refused_before_their_end(port: int) -> None:
    with Wire(port) as wire:
        wire.send(b"POST /items HTTP/1.1\r\n", HOST, b"Transfer-Encoding: chunked\r\n\r\n")

        wire.send(b"0\r\n", b"a:\r\n" * 2_000)

        assert wire.answer().status in {400, 401}
        assert wire.rest() is not None


def test_memory_of_unfinished_requests_is_bounded(server: Server) -> None:
    """45 MB arrive unfinished, twice; without the bound the server grows by 56 MB."""
    before = resident(server.pid)
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(1_500):
                stack.enter_context(Wire(server.port)).send(HEAD)
            assert ask(server.port, LIVE).status == 200
            assert resident(server.pid) - before < 30_000_000


class Connection:
    """A connection that records that it was shed."""

    was_shed = False

    def shed(self) -> None:
        self.was_shed = True


def test_the_total_is_the_sum_of_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventapi.server.unfinished.MAX_UNFINISHED_BYTES", 100)
    first, second, third = Connection(), Connection(), Connection()
    held = UnfinishedRequests()
    held.put(first, 40)
    held.put(second, 40)
    held.put(first, 50)
    assert held.total == 90

    held.put(third, 30)
    assert (first.was_shed, second.was_shed, third.was_shed) == (True, False, False)
    assert held.total == 70

    held.drop(second)
    held.drop(second)
    held.put(third, 101)
    assert third.was_shed
    assert held.total == 0


async def test_memory_is_freed_once_after_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr("eventapi.server.unfinished._trim", trims.append)
    monkeypatch.setattr("eventapi.server.unfinished._TRIM_SECONDS", 0)

    async def flood(size: int) -> None:
        held = UnfinishedRequests()
        connections = [Connection() for _ in range(10)]
        for connection in connections:
            held.put(connection, size // 10)
        for connection in connections:
            held.drop(connection)
        await asyncio.sleep(0.01)

    await flood(1_000_000)
    assert trims == []

    await flood(20_000_000)
    assert trims == [0]
