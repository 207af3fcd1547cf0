"""Responses of the handlers: Litestar's `Response` without its rendering.

Litestar's rendering handles cookies, background tasks and encoders. The handlers use none of them,
and they cost a tenth of a read (docs/decisions/litestar.md).
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import litestar
import msgspec
from litestar.types import Receive, Scope, Send

from eventapi.journal.batch import CommandResult

T = TypeVar("T")

Headers = list[tuple[bytes, bytes]]

encode = msgspec.json.Encoder().encode

JSON: Final = (b"content-type", b"application/json")


class Response(litestar.Response[T]):
    """A status, headers and a complete body.

    Names of headers are in lower case. ``T`` is the type that the body encodes.
    """

    __slots__ = ("body", "fields")

    def __init__(self, status: int, fields: Headers, body: bytes = b"") -> None:
        self.status_code = status
        self.fields = fields
        self.body = body

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return the response itself, which is an ASGI application."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, without its body if the method is HEAD (RFC 9110, 9.3.2)."""
        if self.status_code not in {204, 304}:
            self.fields.append((b"content-length", str(len(self.body)).encode()))
        start: Any = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.fields,
        }
        await send(start)
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def json_response(content: T, status: int = 200, *headers: tuple[bytes, bytes]) -> Response[T]:
    """A JSON response; ``content`` is anything that msgspec can encode."""
    return Response(status, [JSON, *headers], encode(content))


def text_response(text: str, media_type: str, status: int = 200) -> Response[str]:
    """A text response in UTF-8."""
    return Response(
        status, [(b"content-type", f"{media_type}; charset=utf-8".encode())], text.encode()
    )


def written(
    result: CommandResult, content: T, status: int = 200, *headers: tuple[bytes, bytes]
) -> Response[T]:
    """The response to a write, with the position of its event."""
    position = event_position(result.record.position)
    if content is None:
        return Response(204, [position, *headers])
    return json_response(content, status, position, *headers)


def event_position(position: int) -> tuple[bytes, bytes]:
    """The header of a write; one that changed nothing has a position that was read."""
    return b"event-position", b"%d" % position
