"""The floor: the cost of uvicorn alone, without routing, framework and JSON."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

ITEM = (
    b'{"id":1,"title":"Item 1","description":"A prepared item",'
    b'"owner":"reader","created_at":"2025-10-13T12:30:00.000000Z"}'
)


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer a POST or PUT with its own body, anything else with one item."""
    body = ITEM if scope["method"] == "GET" else await read_body(receive)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """The whole request body."""
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)
