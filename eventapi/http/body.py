"""Receiving a request's body from the server, up to a limit."""

from __future__ import annotations

from typing import Any

from litestar.types import Receive

from eventapi.http.head import malformed
from eventapi.http.problems import ProblemError


async def receive_body(receive: Receive, content_length: str | None, limit: float) -> bytes:
    """The whole body of at most ``limit`` bytes.

    Raises `ProblemError` if the body is larger, or if the client disconnects before its end.
    """
    try:
        declared = int(content_length or 0)
    except ValueError:  # Only other ASGI servers pass on such a header.
        raise malformed("the Content-Length is not a number") from None
    if declared > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ProblemError("malformed-body", "the client disconnected before the body ended")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(limit: float) -> ProblemError:
    return ProblemError("body-too-large", f"the body may have {limit} bytes at most")
