"""HTTP to receivers of webhooks and to witnesses, only to checked addresses.

Each request resolves the name of its receiver and checks all addresses. It uses the connection of the
last request to this receiver, if that leads to one of these addresses, or connects to one of them
itself. So a name that changes its address between check and use leads nowhere. Redirects are not
followed, no proxy of the environment is used, and little more of a response is read than is wanted.

A connection belongs to one block, which closes it unless a response came, also if it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from eventapi.values.webhooks import is_public
from eventapi.webhooks.connection import Connection
from eventapi.webhooks.signing import Headers
from events.errors import NotDelivered

TIMEOUT_SECONDS: Final = 30.0
"""The time for a delivery, from the resolution of the name to the head of the response."""

MAX_KEPT: Final = 100
"""Maximum number of kept connections: as many as there can be webhooks."""

_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port; raises `OSError` and `UnicodeError`."""

Connect = Callable[..., Awaitable[tuple[StreamReader, StreamWriter]]]
"""Connects to an address and port; see `asyncio.open_connection`."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the machine resolves them; an address is its own.

    In a thread of its own: a name server that does not answer must not keep the threads busy that
    requests need, or delay the end of the process.
    """
    with suppress(ValueError):
        return [str(ip_address(host))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(result: Sequence[str] | Exception) -> None:
        if found.done():
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)

    def work() -> None:
        result: Sequence[str] | Exception
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = [str(address[0]) for *_, address in rows]
        except (OSError, UnicodeError) as error:
            result = error
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    return await found


_Receiver = tuple[str, str, int]
"""Scheme, host and port."""


class Transport:
    """Posts deliveries; keeps a connection for each receiver, for a moment."""

    def __init__(
        self,
        *,
        private: bool,
        resolve: Resolve = resolve,
        connect: Connect = asyncio.open_connection,
        timeout: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``private`` allows addresses that are not public."""
        self._private = private
        self._resolve = resolve
        self._connect = connect
        self._timeout = timeout
        self._tls = tls or ssl.create_default_context()
        self._kept: dict[_Receiver, Connection] = {}
        self._is_closed = False

    def close(self) -> None:
        """Close the kept connections, and keep no others."""
        self._is_closed = True
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    async def post(self, url: str, headers: Headers, body: bytes) -> int:
        """Post a delivery and return the status; raises `NotDelivered` without one."""
        status, _ = await self.exchange(url, headers, body, 0)
        return status

    async def exchange(
        self, url: str, headers: Headers, body: bytes, max_bytes: int
    ) -> tuple[int, bytes]:
        """Post a body and return the status and the body of the response.

        With ``max_bytes`` of 0 that is not read; a longer one raises `NotDelivered`, and so does any
        failure.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(urlsplit(url), headers, body, max_bytes)
        except TimeoutError as error:
            reason = f"the receiver did not answer in {self._timeout:g} seconds"
            raise NotDelivered(reason) from error
        except ssl.SSLError as error:
            raise NotDelivered(f"TLS failed: {error.reason or type(error).__name__}") from error
        except h11.ProtocolError as error:
            raise NotDelivered("the receiver does not answer in HTTP/1") from error
        except OSError as error:
            reason = f"the receiver cannot be reached: {type(error).__name__}"
            raise NotDelivered(reason) from error

    async def _exchange(
        self, parts: SplitResult, headers: Headers, body: bytes, max_bytes: int
    ) -> tuple[int, bytes]:
        receiver = (parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
        addresses = await self._addresses(*receiver[1:])

        async def send(connection: Connection) -> tuple[int, bytes]:
            try:
                status = await connection.request(parts, headers, body)
                content = await connection.content(max_bytes) if max_bytes else b""
            except BaseException:
                connection.close()
                raise
            await self._keep(receiver, connection)
            return status, content

        kept = self._kept.pop(receiver, None)
        if kept is not None and kept.take(addresses):
            try:
                return await send(kept)
            except (NotDelivered, OSError):
                if kept.has_answered:
                    raise
                # The receiver closed it, probably before it got the request.
        return await send(await self._open(receiver, addresses))

    async def _keep(self, receiver: _Receiver, connection: Connection) -> None:
        if self._is_closed:
            connection.close()
            return
        if receiver in self._kept:  # Of another request that ended meanwhile.
            self._kept.pop(receiver).close()
        elif len(self._kept) == MAX_KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        self._kept[receiver] = connection
        await connection.keep()

    async def _open(self, receiver: _Receiver, addresses: Sequence[str]) -> Connection:
        """Connect to one of the checked addresses of a receiver; TLS verifies the name."""
        scheme, host, port = receiver
        is_tls = scheme == "https"
        tls = {"ssl": self._tls, "server_hostname": host.rstrip(".")} if is_tls else {}
        failure: Exception = NotDelivered("the name of the receiver has no address")
        for address in addresses:
            try:
                # An address that does not answer leaves time for the others.
                async with asyncio.timeout(self._timeout / len(addresses)):
                    return Connection(address, *await self._connect(address, port, **tls))
            except OSError as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotDelivered("the name of the receiver cannot be resolved") from error
        # One address that is not public makes all of them suspicious.
        if not self._private and not all(map(is_public, addresses)):
            raise NotDelivered(
                "the address of the receiver is not public; "
                "EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES=on allows it"
            )
        return addresses
