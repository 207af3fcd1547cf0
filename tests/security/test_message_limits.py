"""Limits on heads, targets and bodies of HTTP/1.1 messages over raw sockets."""

from __future__ import annotations

import pytest

from tests.end_to_end.server import Server
from tests.security.conftest import assert_healthy
from tests.security.raw import HOST, Wire, ask, assert_secure, login, request

POST = b"POST /items HTTP/1.1\r\n" + HOST


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
def test_a_too_large_head_is_refused(port: int, head: list[str], status: int, problem: str) -> None:
    """RFC 6585, section 5. The limits are 100 fields, 32 KiB, and 8 KiB for the token."""
    answer = ask(port, request("GET /items HTTP/1.1", *head))

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
def test_a_refusal_by_the_parser_has_the_shape_of_the_version_of_the_path(
    port: int, path: bytes, media_type: str, rest: bytes, status: int
) -> None:
    answer = ask(port, b"GET " + path + rest)

    assert (answer.status, answer.all("content-type")) == (status, [media_type])
    assert ("error_description" in answer.json()) == path.endswith(b"/auth/login")


def test_control_a_head_at_the_limits_is_accepted(port: int) -> None:
    """99 fields and Host."""
    fields = [f"X-{number}: y" for number in range(98)]
    room = 32_768 - len("Hosttest") - sum(len(field) - 2 for field in fields)
    large = request("GET /health/live HTTP/1.1", *fields, "Z: " + "z" * (room - 1))

    assert ask(port, large).status == 200
    assert ask(port, large.replace(b"Z: ", b"Z: z")).status == 431


@pytest.mark.parametrize("length", [8_192, 100_000, 1_000_000])
def test_a_too_long_target_is_refused(port: int, length: int) -> None:
    """RFC 9112, section 3; RFC 9110, section 15.5.15."""
    for target in ("/" + "x" * length, "/items?q=" + "x" * length, "http://test/" + "x" * length):
        answer = ask(port, request(f"GET {target} HTTP/1.1"))
        assert (answer.status, answer.problem) == (414, "uri-too-long")
        assert_secure(answer)


def test_control_a_target_at_the_limit_is_accepted(port: int) -> None:
    """RFC 9110, section 4.1, recommends at least 8,000 bytes."""
    target = "/health/live" + "x" * (8_192 - len("/health/live"))

    assert ask(port, request(f"GET {target} HTTP/1.1")).status == 404
    assert ask(port, request(f"GET {target}y HTTP/1.1")).status == 414


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
def test_an_endless_message_is_refused_at_the_limit(
    port: int, endless: bytes, filling: bytes, status: int
) -> None:
    """The limits apply to incomplete messages, which the server must not buffer."""
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
def test_the_client_can_read_the_refusal_of_a_too_large_body(port: int, waits: bool) -> None:
    """RFC 9110, section 15.5.14; RFC 9112, section 9.6: no reset during the upload."""
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


def test_control_a_body_at_the_limit_is_accepted_in_either_framing(port: int) -> None:
    """64 KiB, declared and in chunks of every size."""
    field = login(port, "atlimit")
    body = b'{"title":"x"' + b" " * (65_536 - 13) + b"}"
    kind = "Content-Type: application/json"
    head = request("POST /items HTTP/1.1", field, kind, f"Content-Length: {len(body)}")
    assert ask(port, head, body).status == 200

    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body[:2_000])
    chunks += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 2_000, body[2_000:])
    head = request("POST /items HTTP/1.1", field, kind, "Transfer-Encoding: chunked")
    assert ask(port, head, chunks).status == 200


def test_the_server_has_logged_no_error(server: Server) -> None:
    """After all tests of this module."""
    assert_healthy(server)
