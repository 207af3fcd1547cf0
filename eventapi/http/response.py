"""Answers: an ASGI response that is sent as it is.

Litestar's own responses carry cookies, background tasks, encoders and more; of that nothing is
needed here, and the time it takes is worth having.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

encode = msgspec.json.Encoder().encode

JSON = (b"content-type", b"application/json")


class Response:
    """A status, headers in lower-case bytes, and a whole body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def to_asgi_response(self, **_: Any) -> Response:
        """Itself: Litestar asks the answers of exception handlers for this."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, without the body where the request was a HEAD (RFC 9110, section 9.3.2)."""
        if self.status not in {204, 304}:
            self.headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def json_response(content: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Response:
    """Anything that msgspec can encode, as JSON."""
    return Response(status, [JSON, *headers], encode(content))


def text_response(text: str, media_type: str, status: int = 200) -> Response:
    """Text in UTF-8."""
    return Response(
        status, [(b"content-type", f"{media_type}; charset=utf-8".encode())], text.encode()
    )
