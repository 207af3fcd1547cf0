"""Request and answer on a connection: uvicorn's cycle with a writer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from eventapi.http.problems import ProblemError
from eventapi.http.response import Headers


class Flow(FlowControl):
    """Flow control that can hold reading while input waits to be parsed."""

    _is_held = False

    def hold_reading(self) -> None:
        """Stop reading until `release_reading`, which `resume_reading` does not do."""
        self.pause_reading()
        self._is_held = True

    def release_reading(self) -> None:
        """Undo `hold_reading`, and resume reading."""
        self._is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self._is_held:
            super().resume_reading()


class BufferedTransport:
    """The transport of an answer: buffers heads, and closes in an orderly way.

    ``head`` is sent together with the next data.
    """

    __slots__ = ("_write", "close", "get_extra_info", "head", "is_closing")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._write = transport.write
        self.head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.close = close

    def write(self, data: bytes) -> None:
        if self.head:
            data, self.head = self.head + data, b""
        self._write(data)


class Cycle(RequestResponseCycle):
    """A request and its answer.

    ``error`` is the reason why the rest of the body was refused. ``keep_alive_after_100`` says whether
    the connection is kept once the client was asked to continue.
    """

    error: ProblemError | None = None
    keep_alive_after_100 = False

    async def send(self, message: Any) -> None:
        """Send a part of the answer.

        The head is written here, because uvicorn matches each header with two regular expressions and
        sends the head in a write of its own: together a fifth of the time of a small answer.
        """
        if self.response_started:
            if (
                self.chunked_encoding is None
            ):  # The body ends with the connection, or there is none.
                self.expected_content_length = len(message.get("body", b""))
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._write_head(message["status"], message["headers"])

    def _write_head(self, status: int, headers: Headers) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        head = [*self.default_headers, *headers]
        for name, value in headers:
            if name == b"content-length":
                self.chunked_encoding = False
                self.expected_content_length = int(value)
            elif name == b"connection":
                self.keep_alive = self.keep_alive and value != b"close"
        if not self.keep_alive and (b"connection", b"close") not in headers:
            head.append((b"connection", b"close"))
        is_bare = self.scope["method"] == "HEAD" or status in {204, 304}
        # HTTP/1.0 has no chunks (RFC 9112, section 6.1).
        if self.chunked_encoding is None and not is_bare and self.scope["http_version"] != "1.0":
            self.chunked_encoding = True
            head.append((b"transfer-encoding", b"chunked"))
        lines = b"".join([b"%b: %b\r\n" % pair for pair in head])
        if lines.count(b"\n") != len(head) or lines.count(b"\r") != len(head):
            raise RuntimeError("a header has a line break in it")
        outlet: Any = self.transport
        outlet.head = b"%b%b\r\n" % (STATUS_LINE[status], lines)
        if is_bare or self.chunked_encoding is not False:
            outlet.write(b"")

    async def receive(self) -> Any:
        if self.waiting_for_100_continue:
            self.keep_alive = self.keep_alive_after_100
        if self.error is None:
            message = await super().receive()
        if self.error is not None:
            raise self.error
        return message

    async def send_500_response(self) -> None:
        # Only a cancelled request gets here: its outcome is unknown.
        self.transport.close()
