"""A TCP proxy to a database, which can cut a COMMIT or terminate TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Cut = Literal["before", "after"]
"""Before the database receives the COMMIT, or after its answer and before the client receives it."""


_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
"""PostgreSQL, Frontend/Backend Protocol, SSLRequest."""


class Proxy:
    """Forwards bytes both ways; with ``cut``, the next COMMIT ends its connection.

    With ``tls``, it answers a PostgreSQL client's request for TLS and decrypts.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.cut: Cut | None = None
        self.tls: ssl.SSLContext | None = None
        self.encrypted: list[bool] = []
        """For each forwarded connection with ``tls``, whether it was encrypted."""
        self.port = 0

    async def forward(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Forward both ways until one side closes the connection."""
        first = await self._accept_tls(client, back)
        if first is not None:
            await self._forward_from(first, client, back)

    async def _forward_from(
        self, first: bytes, client: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        server, forth = await asyncio.open_connection(*self._target)
        forth.write(first)
        cut: Cut | None = None

        async def to_server() -> None:
            nonlocal cut
            while data := await client.read(1 << 16):
                # Matches no READ COMMITTED, with which a transaction may begin.
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

        directions = [asyncio.create_task(to_server()), asyncio.create_task(to_client())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for side in (back, forth):
                side.close()
                with suppress(OSError):
                    await side.wait_closed()

    async def _accept_tls(
        self, client: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> bytes | None:
        """Return the bytes to forward, or None if the client refuses the certificate."""
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
    """Start a proxy to an address, on a port of its own."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.forward, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
