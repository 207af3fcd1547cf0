"""Answers that go on: an ASGI response made of parts, as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar.types import Receive, Scope, Send

from eventapi.http.response import Headers, Response
from events.errors import EventapiError
from events.messages.server_log import STREAM_CUT

logger = logging.getLogger("eventapi.http")

SEND_TIMEOUT_SECONDS = 30.0
"""How long a part may wait for a client that does not take it; then the client is let go."""


class StreamingResponse(Response[Any]):
    """A status, headers and parts of a body; what is not taken is not made.

    Who reads slowly is waited for with one part at hand, and not for long.
    """

    __slots__ = ("_parts",)

    def __init__(self, headers: Headers, parts: AsyncGenerator[bytes, None]) -> None:
        super().__init__(200, headers)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts until there are no more, or nobody is there any more."""
        start: Any = {"type": "http.response.start", "status": 200, "headers": self.fields}
        await send(start)
        if scope.get("method") == "HEAD":
            await self._parts.aclose()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait([sending, leaving])
        if not sending.cancelled() and (error := sending.exception()) is not None:
            # The answer ends in its middle, which tells the client that it is not whole.
            if not isinstance(error, EventapiError | TimeoutError | MemoryError):
                raise error
            reason = "out of memory" if isinstance(error, MemoryError) else str(error)
            logger.warning(STREAM_CUT.fill(reason=reason or "it was not taken"))

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._parts) as parts:
            async for part in parts:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
