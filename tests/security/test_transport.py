"""HTTP/1.1 over raw sockets: what is framed badly, is too large, or comes in another order."""

from __future__ import annotations

import socket

import pytest

from tests.end_to_end.server import Server
from tests.security.raw import HOST, LIVE, Answer, Wire, asked, json_request, login, request

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
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\nabc",
    "a length in hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "a length past 64 bits": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "a coding that is none (6.1)": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding behind chunked": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST,
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST,
    "chunked and a tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST,
    "chunked in HTTP/1.0 (6.1)": b"POST /items HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    + LAST,
    "a chunk's size in C (7.1)": CHUNKED + b"0x3\r\nabc\r\n" + LAST,
    "a chunk below nothing": CHUNKED + b"-3\r\nabc\r\n" + LAST,
    "a chunk past 64 bits": CHUNKED + b"fffffffffffffffff\r\nabc\r\n" + LAST,
    "a chunk longer than it says": CHUNKED + b"3\r\nabcdef\r\n" + LAST,
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
    "HTTP/2 in the words of 1.1": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
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

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def assert_secure(answer: Answer) -> None:
    """OWASP, REST Security Cheat Sheet, "Security Headers"; HSTS goes with TLS."""
    for name, value in SECURITY.items():
        assert answer.all(name) == [value], (name, answer)
    for name in ("server", "x-powered-by", "set-cookie", "strict-transport-security"):
        assert answer.all(name) == []


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused_and_nothing_behind_it_is_read(port: int, what: str) -> None:
    """RFC 9112, sections 2.2, 3.2, 5, 6 and 7: no two readers may see different messages in it."""
    with Wire(port) as wire:
        wire.send(MALFORMED[what], LIVE)
        answer = wire.answer()
        assert (answer.status, answer.problem) == (400, "malformed-body")
        assert answer.all("connection") == ["close"]
        assert_secure(answer)
        assert wire.is_closed()


@pytest.mark.parametrize(
    "host", ["test", "test:8000", "127.0.0.1", "[::1]:8000", "a_b.c-d", "xn--9ca.example", "a:"]
)
def test_control_a_good_host_is_let_in(port: int, host: str) -> None:
    """RFC 9110, section 7.2."""
    assert asked(port, request("GET /health/live HTTP/1.1", f"Host: {host}")).status == 200


def test_http_1_0_needs_no_host_and_is_closed(port: int) -> None:
    """RFC 9112, sections 3.2 and 9.3."""
    with Wire(port) as wire:
        wire.send(b"GET /health/live HTTP/1.0\r\n\r\n", LIVE)
        answer = wire.answer()
        assert (answer.status, answer.all("connection")) == (200, ["close"])
        assert answer.all("transfer-encoding") == []
        assert wire.is_closed()


def test_a_target_may_be_absolute(port: int) -> None:
    """RFC 9112, section 3.2.2; one without a path means the root."""
    assert asked(port, request("GET http://other/health/live HTTP/1.1")).status == 200
    assert b"/docs" in asked(port, request("GET http://other HTTP/1.1")).body


@pytest.mark.parametrize("path", ["/health/live", "/items", "/nowhere"])
def test_head_has_the_length_and_no_body(port: int, path: str) -> None:
    """RFC 9110, section 9.3.2: what comes next is the next answer."""
    with Wire(port) as wire:
        wire.send(request(f"HEAD {path} HTTP/1.1"), request(f"GET {path} HTTP/1.1"))
        head, got = wire.answer("HEAD"), wire.answer()
        assert head.status == got.status
        assert head.all("content-length") == got.all("content-length") == [str(len(got.body))]


# Too much


@pytest.mark.parametrize(
    ("head", "status", "problem"),
    [
        ([f"X-{number}: y" for number in range(100)], 431, "headers-too-large"),
        (["X: " + "y" * 32_768], 431, "headers-too-large"),
        ([f"X-{number}: " + "y" * 1_000 for number in range(40)], 431, "headers-too-large"),
        (["Authorization: Bearer " + "y" * 8_193], 431, "headers-too-large"),
        (["X: " + "y" * 1_000_000], 431, "headers-too-large"),
        (["Y" * 1_000_000 + ": x"], 431, "headers-too-large"),
        ([f"X-{number}: y" for number in range(20_000)], 431, "headers-too-large"),
    ],
)
def test_a_head_that_is_too_large_is_refused(
    port: int, head: list[str], status: int, problem: str
) -> None:
    """RFC 6585, section 5; 100 fields and 32 KiB, of which the token may be 8 KiB."""
    answer = asked(port, request("GET /items HTTP/1.1", *head))
    assert (answer.status, answer.problem) == (status, problem)
    assert_secure(answer)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (b"/items", "application/json"),
        (b"/api/v1/auth/login", "application/json"),
        (b"/api/v2/items", "application/problem+json"),
        (b"/health", "application/problem+json"),
    ],
)
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b" HTTP/1.1\r\nHost test\r\n\r\n", 400),
        (b" HTTP/2.0\r\n" + HOST + b"\r\n", 400),
        (b"#a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b" HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 60_000 + b"\r\n\r\n", 431),
        (b"?" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    ],
)
def test_a_refusal_of_the_parser_has_the_form_of_the_version_of_its_path(
    port: int, path: bytes, media_type: str, rest: bytes, status: int
) -> None:
    answer = asked(port, b"GET " + path + rest)
    assert (answer.status, answer.all("content-type")) == (status, [media_type])
    assert ("error_description" in answer.json()) == path.endswith(b"/auth/login")


def test_control_a_head_at_the_limits_is_taken(port: int) -> None:
    """99 fields and Host."""
    fields = [f"X-{number}: y" for number in range(98)]
    room = 32_768 - len("Hosttest") - sum(len(field) - 2 for field in fields)
    large = request("GET /health/live HTTP/1.1", *fields, "Z: " + "z" * (room - 1))
    assert asked(port, large).status == 200
    assert asked(port, large.replace(b"Z: ", b"Z: z")).status == 431


@pytest.mark.parametrize("length", [8_192, 100_000, 1_000_000])
def test_a_target_that_is_too_long_is_refused(port: int, length: int) -> None:
    """RFC 9112, section 3; RFC 9110, section 15.5.15."""
    for target in ("/" + "x" * length, "/items?q=" + "x" * length, "http://test/" + "x" * length):
        answer = asked(port, request(f"GET {target} HTTP/1.1"))
        assert (answer.status, answer.problem) == (414, "uri-too-long")
        assert_secure(answer)


def test_control_a_target_at_the_limit_is_taken(port: int) -> None:
    """RFC 9110, section 4.1, asks for 8,000."""
    target = "/health/live" + "x" * (8_192 - len("/health/live"))
    assert asked(port, request(f"GET {target} HTTP/1.1")).status == 404
    assert asked(port, request(f"GET {target}y HTTP/1.1")).status == 414


@pytest.mark.parametrize(
    ("endless", "filling", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"x", 431, id="a field"),
        pytest.param(b"GET /", b"x", 414, id="a target"),
        pytest.param(b"1;", b"x", 400, id="a chunk extension"),
        pytest.param(b"1\r\nx\r\n0\r\nX: ", b"x", 400, id="a trailer"),
        pytest.param(b"1\r\nx\r\n0\r\n", b"X: y\r\n", 400, id="trailers"),
        pytest.param(b"0", b"0", 400, id="a chunk size"),
        pytest.param(b"", b"\r\n", 400, id="empty lines"),
    ],
)
def test_what_has_no_end_is_cut_off_early(
    port: int, endless: bytes, filling: bytes, status: int
) -> None:
    """The limits hold for what has come so far: nothing is kept until it is whole."""
    if endless[:1].isdigit():
        kind = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        field = login(port, f"endless-{len(endless)}-{len(filling)}")
        endless = request("POST /items HTTP/1.1", *kind, field, body=endless)
    with Wire(port) as wire:
        wire.send(endless)
        wire.socket.settimeout(0.05)
        for sent in range(0, 5_000_000, 6_000):
            assert sent < 100_000, "far too much was read"
            wire.send(filling * (6_000 // len(filling)))
            try:
                answer = wire.answer()
            except TimeoutError:
                continue
            break
        assert answer.status == status


@pytest.mark.parametrize("waits", [False, True])
def test_a_body_that_is_too_large_is_refused_and_the_answer_can_be_read(
    port: int, waits: bool
) -> None:
    """RFC 9110, section 15.5.14; RFC 9112, section 9.6: not reset while the client still sends."""
    kind = b"Content-Type: application/json\r\n"
    body = b'"' + b"x" * 3_000_000
    declared = POST + kind + b"Content-Length: %d\r\n\r\n" % len(body)
    chunked = POST + kind + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
    authorization = login(port, f"large-{waits}").encode() + b"\r\n"
    for start in (declared, chunked):
        head = start.replace(HOST, HOST + authorization)
        with Wire(port) as wire:
            wire.send(head) if waits else wire.send(head, body)
            if waits and head.endswith(b"\r\n\r\n"):
                wire.send(body[:70_000])
            elif waits:
                wire.send(body)
            answer = wire.answer()
            assert (answer.status, answer.problem) == (413, "body-too-large")
            assert answer.all("connection") == ["close"]
            assert_secure(answer)
            assert wire.is_closed()


def test_control_a_body_at_the_limit_is_taken_in_either_form(port: int) -> None:
    """64 KiB, declared and in chunks of every size."""
    field = login(port, "atlimit")
    body = b'{"title":"x"' + b" " * (65_536 - 13) + b"}"
    kind = "Content-Type: application/json"
    head = request("POST /items HTTP/1.1", field, kind, f"Content-Length: {len(body)}")
    assert asked(port, head, body).status == 200
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body[:2_000])
    chunks += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 2_000, body[2_000:])
    head = request("POST /items HTTP/1.1", field, kind, "Transfer-Encoding: chunked")
    assert asked(port, head, chunks).status == 200


# One after the other


def test_pipelined_requests_are_answered_in_their_order(port: int) -> None:
    """RFC 9112, section 9.3.2; also where thousands come at once."""
    count = 5_000
    with Wire(port) as wire:
        wire.send(*(LIVE.replace(HOST, HOST + b"X-Request-ID: %d\r\n" % n) for n in range(count)))
        for number in range(count):
            assert wire.answer().all("x-request-id") == [str(number)]


def test_a_refusal_waits_for_its_turn(port: int) -> None:
    """Else the answer to one request would be taken for that to another."""
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


def test_limits_hold_for_every_request_of_a_connection(port: int) -> None:
    """Not only for the first."""
    for head, status in ((["X: " + "y" * 32_768], 431), (["Host: a", "Host: b"], 400)):
        with Wire(port) as wire:
            wire.send(LIVE * 3)
            assert [wire.answer().status for _ in range(3)] == [200] * 3
            wire.send(LIVE, request("GET /items HTTP/1.1", *head))
            assert [wire.answer().status for _ in range(2)] == [200, status]


def test_nothing_is_carried_out_behind_a_last_request(port: int) -> None:
    """RFC 9112, section 9.6: after "close" there is no other request on a connection."""
    field = login(port, "last")
    create = json_request("POST", "/items", {"title": "hidden"}, field)
    for last in (request("GET /items HTTP/1.1", field, "Connection: close"), b"GET / HTTP/1.0\r\n"):
        with Wire(port) as wire:
            wire.send(last if last.endswith(b"\r\n\r\n") else last + b"\r\n", create)
            wire.answer()
            assert wire.is_closed()
    assert asked(port, request("GET /items HTTP/1.1", field)).json() == []


def test_a_body_that_nobody_wanted_is_no_request(port: int) -> None:
    """What comes after an answer is still the body of its request."""
    hidden = LIVE * 3
    with Wire(port) as wire:
        wire.send(request("POST /nowhere HTTP/1.1", f"Content-Length: {len(hidden)}"))
        assert wire.answer().status == 404
        wire.send(hidden, LIVE)
        assert wire.answer().status == 200
        wire.socket.shutdown(1)
        assert wire.rest() == b""


def test_a_body_that_nobody_wanted_does_not_go_on_for_ever(port: int) -> None:
    """Some of it is thrown away for the sake of the connection, and then that is closed."""
    with Wire(port) as wire:
        wire.send(request("POST /nowhere HTTP/1.1", "Content-Length: 1000000000"))
        assert wire.answer().status == 404
        for _ in range(10):
            wire.send(b"x" * 50_000)
        assert wire.is_closed()


def test_fields_behind_the_body_are_not_those_of_the_request(port: int) -> None:
    """RFC 9110, section 6.5.1: a token there has passed by whoever looked at the head."""
    field = login(port, "trailers").encode()
    with Wire(port) as wire:
        head = b"GET /items HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        wire.send(head + b"0\r\n", field, b"\r\n\r\n")
        assert wire.answer().status == 401


# Other protocols, and other ways to ask


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
    ],
)
def test_an_upgrade_is_not_made(port: int, fields: tuple[str, ...]) -> None:
    """RFC 9110, section 7.8: a server may ignore it; what comes next is still HTTP/1.1."""
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
def test_an_upgrade_with_a_body_nobody_can_read_is_refused(port: int, framing: str) -> None:
    with Wire(port) as wire:
        wire.send(request("POST /x HTTP/1.1", "Connection: Upgrade", "Upgrade: x", framing))
        answer = wire.answer()
        assert (answer.status, answer.problem) == (400, "malformed-body")
        assert wire.is_closed()


@pytest.mark.parametrize("count", [1, 3])
def test_who_sends_nothing_more_is_still_answered(port: int, count: int) -> None:
    """A client may close its own direction once it has asked (RFC 9112, section 9.6)."""
    field = login(port, f"half-closed-{count}")
    with Wire(port) as wire:
        wire.send(*[json_request("POST", "/items", {"title": "x"}, field)] * count)
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.answer().status for _ in range(count)] == [200] * count
        assert wire.is_closed()


def test_who_goes_away_in_the_middle_of_a_body_gets_nothing(port: int) -> None:
    field = login(port, "gone")
    with Wire(port) as wire:
        kind = ("Content-Type: application/json", "Content-Length: 50")
        wire.send(request("POST /items HTTP/1.1", field, *kind, body=b"{"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.rest() == b""


def test_the_body_of_an_upgrade_is_no_request(port: int) -> None:
    """RFC 9112, section 11.2: what is a body to a proxy in front is a body here."""
    with Wire(port) as wire:
        fields = ("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(LIVE)}")
        wire.send(request("POST /nowhere HTTP/1.1", *fields, body=LIVE))
        assert wire.answer().status == 404
        wire.send(request("GET /items HTTP/1.1"))
        assert wire.answer().status == 401


def test_this_is_no_proxy(port: int) -> None:
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
def test_methods_of_nothing_are_answered(port: int, line: str, status: int) -> None:
    """RFC 9110, sections 9.3.7 and 9.3.8."""
    assert asked(port, request(line)).status == status


def test_a_body_is_asked_for_when_it_is_wanted(port: int) -> None:
    """RFC 9110, section 10.1.1; after a refusal nobody knows whether the body comes."""
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


def test_everybody_else_is_still_served(server: Server) -> None:
    """After all of the above."""
    assert asked(server.port, LIVE).status == 200
    assert server.output.endswith("Press Ctrl-C to stop.\n"), "it has logged an error"
    assert server.output.count("\n") == 3, "it has logged an error"
