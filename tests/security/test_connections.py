"""HTTP/1.1 connections: pipelining, unread bodies, upgrades and half-closing."""

from __future__ import annotations

import socket

import pytest

from tests.end_to_end.server import Server
from tests.security.conftest import assert_healthy
from tests.security.raw import HOST, LIVE, Wire, ask, json_request, login, request

LAST = b"0\r\n\r\n"

# Several requests on one connection


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """RFC 9112, section 9.3.2; even thousands that arrive at once."""
    count = 5_000
    with Wire(port) as wire:
        wire.send(*(LIVE.replace(HOST, HOST + b"X-Request-ID: %d\r\n" % n) for n in range(count)))
        for number in range(count):
            assert wire.answer().all("x-request-id") == [str(number)]


def test_a_refusal_is_sent_after_the_answers_to_earlier_requests(port: int) -> None:
    """Otherwise the client would assign the answers to the wrong requests."""
    field = login(port, "turns")
    create = json_request("POST", "/items", {"title": "first"}, field)
    with Wire(port) as wire:
        wire.send(create, b"GET / HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n", LIVE)
        assert [wire.answer().status for _ in range(2)] == [200, 400]
        assert wire.is_closed()
    with Wire(port) as wire:
        wire.send(create, request("GET / HTTP/1.1", "X: " + "y" * 50_000), create)
        assert [wire.answer().status for _ in range(2)] == [200, 431]
        assert wire.is_closed()


def test_limits_apply_to_every_request_of_a_connection(port: int) -> None:
    for head, status in ((["X: " + "y" * 32_768], 431), (["Host: a", "Host: b"], 400)):
        with Wire(port) as wire:
            wire.send(LIVE * 3)
            assert [wire.answer().status for _ in range(3)] == [200] * 3
            wire.send(LIVE, request("GET /items HTTP/1.1", *head))
            assert [wire.answer().status for _ in range(2)] == [200, status]


def test_a_request_after_the_last_one_is_not_executed(port: int) -> None:
    """RFC 9112, section 9.6: a connection has no request after one with "close"."""
    field = login(port, "last")
    create = json_request("POST", "/items", {"title": "hidden"}, field)

    for last in (request("GET /items HTTP/1.1", field, "Connection: close"), b"GET / HTTP/1.0\r\n"):
        with Wire(port) as wire:
            wire.send(last if last.endswith(b"\r\n\r\n") else last + b"\r\n", create)
            wire.answer()
            assert wire.is_closed()

    assert ask(port, request("GET /items HTTP/1.1", field)).json() == []


def test_an_unread_body_is_not_parsed_as_a_request(port: int) -> None:
    """Bytes that arrive after the answer are still the body of its request."""
    hidden = LIVE * 3
    with Wire(port) as wire:
        wire.send(request("POST /nowhere HTTP/1.1", f"Content-Length: {len(hidden)}"))
        assert wire.answer().status == 404
        wire.send(hidden, LIVE)
        assert wire.answer().status == 200
        wire.socket.shutdown(1)
        assert wire.rest() == b""


def test_a_connection_with_a_long_unread_body_is_closed(port: int) -> None:
    """The server discards some of the body to keep the connection, and then closes it."""
    with Wire(port) as wire:
        wire.send(request("POST /nowhere HTTP/1.1", "Content-Length: 1000000000"))
        assert wire.answer().status == 404
        for _ in range(10):
            wire.send(b"x" * 50_000)
        assert wire.is_closed()


def test_trailer_fields_are_not_header_fields(port: int) -> None:
    """RFC 9110, section 6.5.1: a proxy that checks the head does not check them."""
    field = login(port, "trailers").encode()
    with Wire(port) as wire:
        head = b"GET /items HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        wire.send(head + b"0\r\n", field, b"\r\n\r\n")
        assert wire.answer().status == 401


# Other protocols and methods


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
    ],
)
def test_an_upgrade_is_ignored(port: int, fields: tuple[str, ...]) -> None:
    """RFC 9110, section 7.8: a server may ignore it and continue with HTTP/1.1."""
    field = login(port, f"upgrade-{len(fields)}-{len(fields[-1])}")
    with Wire(port) as wire:
        wire.send(request("GET /health/live HTTP/1.1", *fields), LIVE)
        assert [wire.answer().status for _ in range(2)] == [200, 200]
        for title in ("one", "two"):
            wire.send(json_request("POST", "/items", {"title": title}, field, *fields), LIVE)
            assert wire.answer().json()["title"] == title
            assert wire.answer().status == 200
        chunked = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        head = request("POST /items HTTP/1.1", field, *chunked, *fields)
        wire.send(head, b'1\r\n{\r\n10\r\n"title":"three"}\r\n', LAST, LIVE)
        assert wire.answer().json()["title"] == "three"
        assert wire.answer().status == 200


@pytest.mark.parametrize("framing", ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked, x"])
def test_an_upgrade_with_an_unknown_transfer_coding_is_refused(port: int, framing: str) -> None:
    with Wire(port) as wire:
        wire.send(request("POST /x HTTP/1.1", "Connection: Upgrade", "Upgrade: x", framing))

        answer = wire.answer()

        assert (answer.status, answer.problem) == (400, "malformed-body")
        assert wire.is_closed()


@pytest.mark.parametrize("count", [1, 3])
def test_a_half_closed_connection_is_answered(port: int, count: int) -> None:
    """A client may close its direction after its request (RFC 9112, section 9.6)."""
    field = login(port, f"half-closed-{count}")
    with Wire(port) as wire:
        wire.send(*[json_request("POST", "/items", {"title": "x"}, field)] * count)
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.answer().status for _ in range(count)] == [200] * count
        assert wire.is_closed()


def test_a_connection_that_closes_within_a_body_gets_no_answer(port: int) -> None:
    field = login(port, "gone")
    with Wire(port) as wire:
        kind = ("Content-Type: application/json", "Content-Length: 50")
        wire.send(request("POST /items HTTP/1.1", field, *kind, body=b"{"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.rest() == b""


def test_the_body_of_an_upgrade_is_not_parsed_as_a_request(port: int) -> None:
    """RFC 9112, section 11.2: a proxy in front treats it as a body, too."""
    with Wire(port) as wire:
        fields = ("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(LIVE)}")
        wire.send(request("POST /nowhere HTTP/1.1", *fields, body=LIVE))
        assert wire.answer().status == 404

        wire.send(request("GET /items HTTP/1.1"))
        assert wire.answer().status == 401


def test_connect_is_refused(port: int) -> None:
    """RFC 9110, section 9.3.6."""
    with Wire(port) as wire:
        wire.send(request("CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"), LIVE)

        answer = wire.answer()

        assert (answer.status, answer.problem) == (405, "method-not-allowed")
        assert "GET" in answer.all("allow")[0]
        assert wire.is_closed()


@pytest.mark.parametrize(
    ("line", "status"), [("OPTIONS * HTTP/1.1", 404), ("TRACE / HTTP/1.1", 405)]
)
def test_requests_for_the_server_and_trace_are_refused(port: int, line: str, status: int) -> None:
    """RFC 9110, sections 9.3.7 and 9.3.8."""
    assert ask(port, request(line)).status == status


def test_100_continue_is_sent_when_the_body_is_needed(port: int) -> None:
    """RFC 9110, section 10.1.1. A refusal closes: the body may follow or not."""
    field = login(port, "expecting")
    body = b'{"title":"x"}'
    kind = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with Wire(port) as wire:
        wire.send(request("POST /items HTTP/1.1", *kind, "Expect: 100-continue", field))
        assert wire.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert wire.answer().status == 200
    with Wire(port) as wire:
        wire.send(request("POST /nowhere HTTP/1.1", *kind, "Expect: 100-continue"))
        assert (answer := wire.answer()).status == 404
        assert answer.all("connection") == ["close"]
        assert wire.is_closed()


def test_the_server_has_logged_no_error(server: Server) -> None:
    """After all tests of this module."""
    assert_healthy(server)
