"""HTTP to receivers of webhooks and to witnesses, only to checked addresses.

Each request resolves the name of its receiver, checks all addresses, and connects to one of them
itself. So a name that changes its address between check and use leads nowhere. Redirects are not
followed, no proxy of the environment is used, and no more of a response is read than is wanted.

A connection belongs to one block, which closes it however it ends, also if it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from eventapi.values.webhooks import is_public
from eventapi.webhooks.signing import Headers
from events.errors import NotDelivered

TIMEOUT_SECONDS: Final = 30.0
"""The time for a delivery, from the resolution of the name to the head of the response."""

MAX_HEAD_BYTES: Final = 65_536
"""Maximum size of what precedes the final status, with all informational responses."""

_READ_BYTES: Final = 16_384
_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port; raises `OSError` and `UnicodeError`."""

Connect = Callable[..., Awaitable[tuple[StreamReader, StreamWriter]]]
"""Connects to an address and port; see `asyncio.open_connection`."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the machine resolves them.

    In a thread of its own: a name server that does not answer must not keep the threads busy that
    requests need, or delay the end of the process.
    """
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


class Transport:
    """Posts deliveries; a new connection for each."""

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
        parts = urlsplit(url)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._connection(parts) as (reader, writer),
            ):
                connection = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)
                writer.write(_request(connection, parts, headers, body))
                status = await _status(connection, reader)
                content = b"" if not max_bytes else await _content(connection, reader, max_bytes)
                return status, content
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

    @asynccontextmanager
    async def _connection(
        self, parts: SplitResult
    ) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """Connect to a checked address of a host; TLS verifies the name."""
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        is_tls = parts.scheme == "https"
        tls = {"ssl": self._tls, "server_hostname": host.rstrip(".")} if is_tls else {}
        failure: Exception = NotDelivered("the name of the receiver has no address")
        addresses = await self._addresses(host, port)
        for address in addresses:
            try:
                # An address that does not answer leaves time for the others.
                async with asyncio.timeout(self._timeout / len(addresses)):
                    reader, writer = await self._connect(address, port, **tls)
                break
            except OSError as error:
                failure = error
        else:
            raise failure
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

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


def _request(
    connection: h11.Connection, parts: SplitResult, headers: Headers, body: bytes
) -> bytes:
    """The bytes of a request."""
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    fields = [("host", parts.netloc), ("content-length", f"{len(body)}"), ("connection", "close")]
    names = [(name.encode(), value.encode()) for name, value in fields]
    request = h11.Request(method="POST", target=target, headers=[*names, *headers])
    events = (request, h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)


async def _status(connection: h11.Connection, reader: StreamReader) -> int:
    """Read the final status; raises `h11.RemoteProtocolError` if this is not HTTP/1."""
    left = MAX_HEAD_BYTES
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            received = await reader.read(_READ_BYTES)
            if not received:
                raise NotDelivered("the receiver closed the connection before its answer")
            left -= len(received)
            if left < 0:
                raise h11.RemoteProtocolError("the head of the response is too long")
            connection.receive_data(received)


async def _content(connection: h11.Connection, reader: StreamReader, max_bytes: int) -> bytes:
    """Read the body of a response; raises `NotDelivered` if it is longer."""
    content = bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            content += event.data
            if len(content) > max_bytes:
                raise NotDelivered(f"the answer of the receiver has more than {max_bytes:,} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(content)
        elif event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
