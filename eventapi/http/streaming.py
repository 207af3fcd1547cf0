"""Streaming responses: parts are generated and sent one after the other."""

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
"""Maximum time to send a part; if the client does not read it in time, the stream ends."""


class StreamingResponse(Response[Any]):
    """A response whose body is generated while the client reads it.

    At most one part is in memory: the next one is generated after the previous one was sent.
    """

    __slots__ = ("_parts",)

    def __init__(self, headers: Headers, parts: AsyncGenerator[bytes, None]) -> None:
        super().__init__(200, headers)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all parts, or stop when the client disconnects."""
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
            # The body ends without its last chunk, so the client detects that it is incomplete.
            if not isinstance(error, EventapiError | TimeoutError | MemoryError):
                raise error
            reason = "out of memory" if isinstance(error, MemoryError) else str(error)
            logger.warning(STREAM_CUT.fill(reason=reason or "the client did not read it"))

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
