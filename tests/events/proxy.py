"""A way to a database that is cut in the middle of a COMMIT, or that speaks TLS for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Cut = Literal["before", "after"]
"""Before the database gets to know of the COMMIT, or when it has answered, before that arrives."""


_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
"""PostgreSQL, Frontend/Backend Protocol, SSLRequest."""


class Proxy:
    """What is passed on; with ``cut`` the next COMMIT ends the connection that it comes on.

    With ``tls``, whoever comes as PostgreSQL's clients do is spoken to with TLS, if they ask for it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.cut: Cut | None = None
        self.tls: ssl.SSLContext | None = None
        self.encrypted: list[bool] = []
        """Of each connection that was passed on with ``tls``, whether it was encrypted."""
        self.port = 0

    async def connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Pass on what comes, both ways, until one side ends."""
        first = await self._greeted(client, back)
        if first is not None:
            await self._pass_on(first, client, back)

    async def _pass_on(
        self, first: bytes, client: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        server, forth = await asyncio.open_connection(*self._target)
        forth.write(first)
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

    async def _greeted(
        self, client: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> bytes | None:
        """What was read and is to be passed on; ``None`` where this certificate is not trusted."""
        if self.tls is None:
            return b""
        first = await client.readexactly(len(_SSL_REQUEST))
        self.encrypted.append(first == _SSL_REQUEST)
        if first != _SSL_REQUEST:
            return first
        back.write(b"S")
        try:
            await back.start_tls(self.tls)
        except OSError:
            return None
        return b""


@asynccontextmanager
async def open_proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A port that leads to another one."""
    way = Proxy(host, port)
    server = await asyncio.start_server(way.connected, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
