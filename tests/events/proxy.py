"""A way to a database that is cut in the middle of a COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Cut = Literal["before", "after"]
"""Before the database gets to know of the COMMIT, or when it has answered, before that arrives."""


class Way:
    """What is passed on; with ``cut`` the next COMMIT ends the connection that it comes on."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.cut: Cut | None = None
        self.port = 0

    async def connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Pass on what comes, both ways, until one side ends."""
        server, forth = await asyncio.open_connection(*self._target)
        cut: Cut | None = None

        async def to_server() -> None:
            nonlocal cut
            while data := await client.read(1 << 16):
                # Not READ COMMITTED, with which a transaction may begin.
                if self.cut is not None and data.rstrip(b";\0").endswith(b"COMMIT"):
                    cut, self.cut = self.cut, None
                    if cut == "before":
                        return
                forth.write(data)

        async def to_client() -> None:
            while data := await server.read(1 << 16):
                if cut is not None:
                    return
                back.write(data)

        ways = [asyncio.create_task(to_server()), asyncio.create_task(to_client())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for side in (back, forth):
                side.close()
                with suppress(OSError):
                    await side.wait_closed()


@asynccontextmanager
async def way_to(host: str, port: int) -> AsyncIterator[Way]:
    """A port that leads to another one."""
    way = Way(host, port)
    server = await asyncio.start_server(way.connected, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
