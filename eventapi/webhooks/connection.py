"""A connection to a receiver or a witness, for one request after the other."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult

import h11

from eventapi.webhooks.signing import Headers
from events.errors import NotDelivered

MAX_HEAD_BYTES: Final = 65_536
"""Maximum size of what precedes the final status, with all informational responses."""

MAX_REST_BYTES: Final = 16_384
"""Maximum size of the part of a response that is read only to use its connection again."""

IDLE_SECONDS: Final = 15.0
"""How long a connection waits for another request; many servers close it earlier or much later."""

_READ_BYTES: Final = 16_384


class Connection:
    """An open connection, which its user must `close` or `keep`.

    A kept connection closes itself when it can serve no other request: if the receiver closes it, if
    the response is long, if any bytes follow the response, or after `IDLE_SECONDS`.
    """

    def __init__(self, address: str, reader: StreamReader, writer: StreamWriter) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)
        self._is_kept = False
        self._ahead: asyncio.Task[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.has_answered = False
        """Whether any byte of the response to the last request came."""

    def close(self) -> None:
        """Close the connection at once, which also ends the task that reads ahead."""
        self._writer.transport.abort()

    async def keep(self) -> None:
        """Wait for another request, and meanwhile read the rest of the response.

        Closes the connection if the receiver has announced its end, or the response is HTTP/1.0.
        """
        if self._http.our_state is not h11.DONE:
            self.close()
            return
        self._is_kept = True
        self._ahead = asyncio.create_task(self._read_ahead(), name="kept connection")
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)
        await asyncio.sleep(0)  # The task takes what has come, which is often all of the response.

    def take(self, addresses: Collection[str]) -> bool:
        """Use a kept connection for another request; return whether that is possible.

        It must be free and lead to one of the addresses. Otherwise it is closed.
        """
        is_free = self._is_kept and self._http.our_state is h11.IDLE
        if self._timer is not None:
            self._timer.cancel()
        self._is_kept = False
        if is_free and self._address in addresses and not self._writer.transport.is_closing():
            return True
        self.close()
        return False

    async def request(self, parts: SplitResult, headers: Headers, body: bytes) -> int:
        """Post a body and return the final status.

        Raises `NotDelivered`, `OSError`, and `h11.RemoteProtocolError` if the answer is not HTTP/1.
        """
        self.has_answered = False
        self._writer.write(_request(self._http, parts, headers, body))
        left = MAX_HEAD_BYTES
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                received = await self._read()
                if not received:
                    raise NotDelivered("the receiver closed the connection before its answer")
                self.has_answered = True
                left -= len(received)
                if left < 0:
                    raise h11.RemoteProtocolError("the head of the response is too long")
                self._http.receive_data(received)

    async def content(self, max_bytes: int) -> bytes:
        """Read the body of the response; raises `NotDelivered` if it is longer.

        Raises what `request` raises.
        """
        content = bytearray()
        while self._http.their_state is h11.SEND_BODY:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                content += event.data
                if len(content) > max_bytes:
                    reason = f"the answer of the receiver has more than {max_bytes:,} bytes"
                    raise NotDelivered(reason)
            elif event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        return bytes(content)

    async def _read(self) -> bytes:
        """The next bytes; none at the end."""
        ahead, self._ahead = self._ahead, None
        return await (ahead or self._reader.read(_READ_BYTES))

    async def _read_ahead(self) -> bytes:
        """Read the rest of a response, and return the first bytes of the next one.

        There are none if the connection cannot be used again.
        """
        try:
            await self.content(MAX_REST_BYTES)
            if self._http.trailing_data[0]:
                return b""  # It would be taken for the answer to the next request.
            self._http.start_next_cycle()
            return await self._reader.read(_READ_BYTES)
        except (OSError, h11.ProtocolError, NotDelivered):
            return b""
        finally:
            if self._is_kept:
                self._is_kept = False
                self.close()


def _request(
    connection: h11.Connection, parts: SplitResult, headers: Headers, body: bytes
) -> bytes:
    """The bytes of a request."""
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    fields = [("host", parts.netloc), ("content-length", f"{len(body)}")]
    names = [(name.encode(), value.encode()) for name, value in fields]
    request = h11.Request(method="POST", target=target, headers=[*names, *headers])
    events = (request, h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)
