"""Clients of streams: they read an answer part by part, as an ASGI server does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from eventapi.commands.users import EraseUser, RevokeRole
from tests.eventapi.http.client import OPERATOR, Caller, http_scope

NDJSON, SSE = "application/x-ndjson", "text/event-stream"

STREAM_OPENED = b":\n\n"
"""The comment that opens a stream of server-sent events at once."""

STREAM_SECONDS = 20
"""A stream that takes longer hangs."""

Action = Callable[[], Awaitable[object]]
Step = tuple[bytes, Action]
"""Bytes of a stream, and what the client does when they have arrived."""


class StreamReader:
    """Reads one stream until the server ends it; keeps its status and body."""

    def __init__(
        self, caller: Caller, path: str, accept: str, query: str = "", **headers: str
    ) -> None:
        self.caller = caller
        self.body = b""
        self.status = 0
        self.is_complete = False
        given = {"authorization": f"Bearer {caller.token}", "accept": accept}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._scope = http_scope(path, query=query, headers=given)

    def read(self, *steps: Step) -> None:
        """Do as `read_async`, in the app's loop."""
        work = asyncio.wait_for(self.read_async(*steps), STREAM_SECONDS)
        self.caller.api.run(work)

    async def read_async(self, *steps: Step) -> None:
        """Read to the end; run each step, in order, once its bytes have arrived."""
        disconnected = asyncio.Event()
        pending = list(steps)

        async def receive() -> dict[str, Any]:
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)
            self.body += message.get("body", b"")
            self.is_complete = message.get("more_body") is False
            if pending and pending[0][0] in self.body:
                await pending.pop(0)[1]()

        await self.caller.api.edge(self._scope, receive, send)


class OpenStreams:
    """Several streams that are open at the same time."""

    def __init__(self, *readers: StreamReader) -> None:
        self.readers = readers

    def run(self, *actions: Action, until: bytes = b"") -> None:
        """Open all streams, run the actions one after the other, and close the streams.

        On a busy machine some lines arrive late: each stream stays open until it has received
        ``until``, for at most `STREAM_SECONDS`.
        """
        self.readers[0].caller.api.run(self._run(*actions, until=until))

    async def _run(self, *actions: Action, until: bytes) -> None:
        tasks = [asyncio.create_task(reader.read_async()) for reader in self.readers]
        while not all(STREAM_OPENED in reader.body for reader in self.readers):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        for action in actions:
            await action()
            await asyncio.sleep(0.15)
        with suppress(TimeoutError):
            async with asyncio.timeout(STREAM_SECONDS):
                while not all(until in reader.body for reader in self.readers):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def ways_to_lose_access(caller: Caller) -> dict[str, Action]:
    """The actions that end a caller's right to a stream, by name."""
    api, name = caller.api, caller.name
    return {
        "logged out": lambda: api.request_async("POST", "/auth/logout", caller.token),
        "role revoked": lambda: api.execute_async(RevokeRole(name, "auditor", OPERATOR)),
        "erased": lambda: api.execute_async(EraseUser(name, OPERATOR)),
    }
