"""Writing an answer to the transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from eventapi.http.response import Headers, Response
from eventapi.server.cycle import BufferedTransport, Cycle


class Wire:
    """A transport that records each write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        if data:
            self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _name: str) -> None:
        return None


def cycle_on(wire: Wire, method: str, *, keep_alive: bool, version: str = "1.1") -> Cycle:
    transport: Any = wire
    return Cycle(
        cast("Any", {"type": "http", "method": method, "http_version": version}),
        cast("Any", BufferedTransport(transport, lambda: None)),
        FlowControl(transport),
        logging.getLogger(),
        logging.getLogger(),
        False,
        [(b"date", b"Wed, 25 Nov 2026 12:00:00 GMT")],
        asyncio.Event(),
        False,
        keep_alive,
        lambda: None,
    )


def written(
    messages: Sequence[dict[str, Any]],
    method: str = "GET",
    *,
    keep_alive: bool = True,
    version: str = "1.1",
) -> list[bytes]:
    """The writes for a sequence of ASGI messages."""
    wire = Wire()

    async def send() -> None:
        cycle = cycle_on(wire, method, keep_alive=keep_alive, version=version)
        for message in messages:
            await cycle.send(message)

    asyncio.run(send())
    return wire.written


def messages_of(reply: Response[Any], method: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(reply({"method": method}, cast("Any", None), send))  # type: ignore[arg-type]
    return messages


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(("status", "body"), [(200, b"{}"), (404, b'{"title":"x"}'), (204, b"")])
def test_an_answer_of_known_length_is_one_write(method: str, status: int, body: bytes) -> None:
    (answer,) = written(messages_of(Response(status, [(b"a", b"b")], body), method), method)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\na: b" in head
    assert b"\r\ndate: Wed" in head
    assert (b"\r\ncontent-length: %d" % len(body) in head) == (status != 204)
    assert rest == (b"" if method == "HEAD" else body)


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def test_the_head_of_a_stream_is_sent_before_its_body() -> None:
    (head,) = written([start()])
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")


def test_an_answer_without_a_length_is_chunked() -> None:
    part = {"type": "http.response.body", "body": b"event", "more_body": True}
    last = {"type": "http.response.body", "body": b"", "more_body": False}
    assert written([start(), part, last])[1:] == [b"5\r\nevent\r\n", b"0\r\n\r\n"]


def test_over_http_1_0_a_stream_ends_with_the_connection() -> None:
    """RFC 9112, sections 6.1 and 6.3; nginx uses HTTP/1.0 to its upstreams by default."""
    part = {"type": "http.response.body", "body": b"event", "more_body": True}
    last = {"type": "http.response.body", "body": b"", "more_body": False}
    head, *body = written([start(), part, part, last], keep_alive=False, version="1.0")
    assert head.endswith(b"\r\nconnection: close\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == [b"event", b"event"]


@pytest.mark.parametrize("broken", [b"x\r\nset-cookie: a", b"x\n", b"x\r"])
def test_a_header_with_a_line_break_is_not_sent(broken: bytes) -> None:
    headers: Headers = [(b"location", broken), (b"content-length", b"0")]
    wire = Wire()

    async def send() -> None:
        await cycle_on(wire, "GET", keep_alive=True).send(start(*headers))

    with pytest.raises(RuntimeError, match="line break"):
        asyncio.run(send())
    assert wire.written == []


@pytest.mark.parametrize("by_app", [True, False])
def test_connection_close_is_sent_once(by_app: bool) -> None:
    close = [(b"connection", b"close")] if by_app else []
    body = {"type": "http.response.body", "body": b"", "more_body": False}
    messages = [start((b"content-length", b"0"), *close), body]
    (answer,) = written(messages, keep_alive=by_app)
    assert answer.count(b"connection: close\r\n") == 1
