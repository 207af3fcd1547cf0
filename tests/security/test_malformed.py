"""Malformed HTTP/1.1 messages are refused, and the connection is closed."""

from __future__ import annotations

import pytest

from tests.end_to_end.server import Server
from tests.security.conftest import assert_healthy
from tests.security.raw import HOST, LIVE, Wire, ask, assert_secure, request

POST = b"POST /items HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"

MALFORMED = {
    "both lengths (RFC 9112, 6.3)": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    + LAST,
    "both lengths, the other way round": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
    + LAST,
    "two lengths (6.3)": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -1\r\n\r\nabc",
    "a length in hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "a length past 64 bits": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "an unknown coding (6.1)": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding after chunked": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST,
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST,
    "chunked and a tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST,
    "chunked in HTTP/1.0 (6.1)": b"POST /items HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    + LAST,
    "a chunk's size in C (7.1)": CHUNKED + b"0x3\r\nabc\r\n" + LAST,
    "a chunk of negative size": CHUNKED + b"-3\r\nabc\r\n" + LAST,
    "a chunk past 64 bits": CHUNKED + b"fffffffffffffffff\r\nabc\r\n" + LAST,
    "a chunk longer than its size": CHUNKED + b"3\r\nabcdef\r\n" + LAST,
    "a chunk without an end": CHUNKED + b"3\r\nabc" + LAST,
    "a chunk with bare line feeds": CHUNKED + b"3\nabc\n0\n\n",
    "a folded line (5.2)": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a folded first line": b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n",
    "bare line feeds (2.2)": b"GET / HTTP/1.1\nHost: test\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: test\rX: y\r\n\r\n",
    "a space before the colon (5.1)": b"GET / HTTP/1.1\r\nHost : test\r\n\r\n",
    "a field without a name": b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "UTF-8 in the target": "GET /é HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "a fragment in the target (3.2)": b"GET /items#a HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2 (h2c, prior knowledge)": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0 in a request line": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "no Host (3.2)": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /health/live HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n",
    "the same Host twice": b"GET /health/live HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    **{
        f"Host: {host!r}": b"GET /health/live HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        for host in (
            *(b"", b"a b", b"a/b", b"a@b", b"a:b", b"a:123456", b"a, b", b"http://a", b"a?b"),
            *(b"[::1", b"[x]", b"::1", b"a%", b"a%0", b"\xff", b'a"', b"a\\b", b"a#b", b"a\tb"),
        )
    },
}
MALFORMED.pop("Host: b'a, b'")
MALFORMED["a list of Hosts"] = b"GET /health/live HTTP/1.1\r\nHost: a, b\r\n\r\n"


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_message_is_refused_and_nothing_after_it_is_read(port: int, fault: str) -> None:
    """RFC 9112, sections 2.2, 3.2, 5, 6 and 7: no two parsers may read it differently."""
    with Wire(port) as wire:
        wire.send(MALFORMED[fault], LIVE)

        answer = wire.answer()

        assert (answer.status, answer.problem) == (400, "malformed-body")
        assert answer.all("connection") == ["close"]
        assert_secure(answer)
        assert wire.is_closed()


@pytest.mark.parametrize(
    "host", ["test", "test:8000", "127.0.0.1", "[::1]:8000", "a_b.c-d", "xn--9ca.example", "a:"]
)
def test_control_a_valid_host_is_accepted(port: int, host: str) -> None:
    """RFC 9110, section 7.2."""
    assert ask(port, request("GET /health/live HTTP/1.1", f"Host: {host}")).status == 200


def test_a_request_of_http_1_0_needs_no_host_and_closes_the_connection(port: int) -> None:
    """RFC 9112, sections 3.2 and 9.3."""
    with Wire(port) as wire:
        wire.send(b"GET /health/live HTTP/1.0\r\n\r\n", LIVE)

        answer = wire.answer()

        assert (answer.status, answer.all("connection")) == (200, ["close"])
        assert answer.all("transfer-encoding") == []
        assert wire.is_closed()


def test_an_absolute_target_is_accepted(port: int) -> None:
    """RFC 9112, section 3.2.2; an absolute target without a path is the root."""
    assert ask(port, request("GET http://other/health/live HTTP/1.1")).status == 200
    assert b"/docs" in ask(port, request("GET http://other HTTP/1.1")).body


@pytest.mark.parametrize("path", ["/health/live", "/items", "/nowhere"])
def test_an_answer_to_head_has_the_length_but_no_body(port: int, path: str) -> None:
    """RFC 9110, section 9.3.2: the next bytes are those of the next answer."""
    with Wire(port) as wire:
        wire.send(request(f"HEAD {path} HTTP/1.1"), request(f"GET {path} HTTP/1.1"))

        head, got = wire.answer("HEAD"), wire.answer()

        assert head.status == got.status
        assert head.all("content-length") == got.all("content-length") == [str(len(got.body))]


def test_the_server_has_logged_no_error(server: Server) -> None:
    """After all tests of this module."""
    assert_healthy(server)
