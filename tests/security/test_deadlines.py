"""Slow connections and too many of them: deadlines, and limits.

The server has the deadlines of `eventapi.server.protocol`, with shorter times.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eventapi.server.connections import MAX_CONNECTIONS, max_connections
from tests.end_to_end.server import Server
from tests.security.quick import VARIABLE, quick
from tests.security.raw import HOST, LIVE, Wire, ask, assert_secure, json_request, login, request

SHORT = {
    "deadlines.HEAD_SECONDS": 0.5,
    "deadlines.BODY_SECONDS": 0.7,
    "connections.IDLE_SECONDS": 1,
    "write_budget.TAKE_SECONDS": 0.5,
    "deadlines.LINGER_SECONDS": 0.5,
    "connections.MAX_CONNECTIONS": 300,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short deadlines."""
    changes = ",".join(f"{name}={value}" for name, value in SHORT.items())
    data = tmp_path_factory.mktemp("quick") / "data"
    with Server(data, 1, quick(), {VARIABLE: changes}) as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.output


@pytest.fixture
def wire(port: int) -> Iterator[Wire]:
    with Wire(port) as connected:
        yield connected


def assert_timeout(wire: Wire) -> None:
    """Assert that the server answers 408 and closes the connection."""
    answer = wire.answer()
    assert (answer.status, answer.problem) == (408, "request-timeout")
    assert answer.all("connection") == ["close"]
    assert_secure(answer)
    assert wire.is_closed()


def drip(wire: Wire, data: bytes, seconds: float = 0.1) -> None:
    """Send one byte at a time, until all are sent or the server answers or closes."""
    wire.socket.settimeout(seconds)
    for number in range(len(data)):
        try:
            wire.send(data[number : number + 1])
            if not wire.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
        except OSError:
            break
        break
    wire.socket.settimeout(10)


def test_a_connection_without_a_request_is_closed(wire: Wire) -> None:
    """It is closed without an answer, because there was no request."""
    assert wire.is_closed()


def test_an_idle_connection_is_closed(wire: Wire) -> None:
    """RFC 9112, section 9.5."""
    wire.send(LIVE)

    assert wire.answer().status == 200
    assert wire.is_closed()


def test_a_connection_with_only_empty_lines_is_closed(wire: Wire) -> None:
    """RFC 9112, section 2.2: empty lines may precede a request, but do not begin one."""
    drip(wire, b"\r\n" * 20)
    assert wire.is_closed()


def test_an_incomplete_head_times_out(wire: Wire) -> None:
    """RFC 9110, section 15.5.9."""
    wire.send(b"GET / HTTP/1.1\r\n" + HOST)
    assert_timeout(wire)


def test_a_head_that_arrives_byte_by_byte_times_out(wire: Wire) -> None:
    """Slowloris: every byte is in time, but the head is not."""
    drip(wire, b"GET / HTTP/1.1\r\nX: " + b"x" * 100)
    assert_timeout(wire)


def test_a_second_head_has_the_same_deadline(wire: Wire) -> None:
    """An answered request gives the connection no more time."""
    wire.send(LIVE)
    assert wire.answer().status == 200
    wire.send(b"GET /")
    assert_timeout(wire)


@pytest.mark.parametrize("framing", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("dripping", [False, True])
def test_a_body_below_the_minimum_rate_times_out(port: int, framing: str, dripping: bool) -> None:
    """R.U.D.Y.: single bytes are far below the minimum rate."""
    field = login(port, f"late-{len(framing)}-{dripping}")
    kind = "Content-Type: application/json"
    with Wire(port) as wire:
        wire.send(request("POST /items HTTP/1.1", kind, framing, field))
        if dripping:
            drip(wire, b" " * 100 if framing[0] == "C" else b"1\r\n \r\n" * 20)
        assert_timeout(wire)


def test_the_server_does_not_wait_for_the_rest_of_an_unread_body(wire: Wire) -> None:
    """Its request is answered, so the server only closes the connection."""
    wire.send(request("POST /nowhere HTTP/1.1", "Content-Length: 5000"))

    assert wire.answer().status == 404
    assert wire.is_closed()


def test_control_a_body_above_the_minimum_rate_is_accepted(port: int) -> None:
    """It may take longer than the deadline, because the rate is above 1 KiB a second."""
    field = login(port, "fair")
    body = b'{"title":"x"}' + b" " * 40_000
    kind = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with Wire(port) as wire:
        wire.send(request("POST /items HTTP/1.1", *kind, field))
        for start in range(0, len(body), 4_000):
            time.sleep(0.12)
            wire.send(body[start : start + 4_000])
        assert wire.answer().status == 200


def test_a_client_that_does_not_read_is_disconnected(port: int, server: Server) -> None:
    """Otherwise the server would buffer the unread answers for ever."""
    field = login(port, "reader")
    for _ in range(30):
        item = {"title": "x", "description": "é" * 5_000}
        assert ask(port, json_request("POST", "/items", item, field)).status == 200
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(request("GET /items HTTP/1.1", field) * 50)
        time.sleep(3)
        taken = 0
        with suppress(ConnectionResetError):
            while part := deaf.recv(65_536):
                taken += len(part)
        assert taken < 15_000_000


def test_all_unread_answers_together_are_bounded(tmp_path: Path) -> None:
    """The client that stopped reading first is disconnected, the last one is not."""
    changes = {VARIABLE: "write_budget.MAX_UNTAKEN_BYTES=20000000"}
    with Server(tmp_path / "data", 1, quick(), changes) as server:
        field = login(server.port, "hoarder")
        for _ in range(500):
            item = {"title": "x", "description": "𝒜" * 5_000}
            assert ask(server.port, json_request("POST", "/items", item, field)).status == 200
        deaf = [Wire(server.port) for _ in range(6)]
        try:
            for wire in deaf:
                wire.send(request("GET /items?limit=1000 HTTP/1.1", field))
                wire.socket.recv(1)
            with pytest.raises((EOFError, ConnectionResetError)):
                deaf[0].read_exactly(10_000_000)
            assert len(deaf[-1].read_exactly(9_000_000)) == 9_000_000
        finally:
            for wire in deaf:
                wire.socket.close()


def test_the_connection_limit_is_below_the_limit_of_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"now": (300, 300)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    assert max_connections() == 300 - 64

    limits["now"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert max_connections() == MAX_CONNECTIONS


def test_other_clients_are_served_during_200_slow_connections(port: int) -> None:
    slow = [b"", b"GET", b"GET / HTTP/1.1\r\nX:", request("POST / HTTP/1.1", "Content-Length: 9")]
    wires = [Wire(port) for _ in range(200)]
    try:
        for number, wire in enumerate(wires):
            wire.send(slow[number % len(slow)])
        for _ in range(50):
            assert ask(port, LIVE).status == 200
        for wire in wires:
            wire.rest()
    finally:
        for wire in wires:
            wire.socket.close()


def test_a_connection_beyond_the_limit_gets_a_503(port: int) -> None:
    """RFC 9110, section 15.6.4. The limit bounds the memory of all connections."""
    wires: list[Wire] = []
    try:
        while len(wires) < 320:
            wires.append(Wire(port))
        answer = wires[-1].answer()
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert answer.all("retry-after") == ["1"]
        assert_secure(answer)
        assert wires[-1].is_closed()
        assert all(wire.rest() == b"" for wire in wires[:200])
    finally:
        for wire in wires:
            wire.socket.close()

    assert ask(port, LIVE).status == 200
