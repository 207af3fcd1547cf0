"""Accept many waiting clients at once, while the event loop is busy.

The event loop accepts one client of a socket in each turn, and a turn answers every client that has sent a
request: with 128 of them it takes 20 ms. Accepting all that wait would be unfair among workers: of those
that are idle, the first one to wake up would take a whole burst, and keep it. So more are accepted only once
clients have waited for a while, which they do only if all workers are busy. See docs/decisions/transport.md.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

PATIENCE_SECONDS: Final = 0.01
"""How long clients wait until several are accepted in each turn; an idle worker needs less to wake up."""

ACCEPTED_AT_ONCE: Final = 7
"""How many are accepted in each turn then, besides the one of the event loop."""

_PAUSE_SECONDS: Final = 0.1
"""No turn takes so long: clients that wait after such a pause are the first of another burst.

So the wait is an estimate: clients that arrive one by one, in shorter pauses, count as one burst.
"""


class BurstAcceptor:
    """Accepts clients that have waited, beside the server of the event loop."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], Any],
        context: ssl.SSLContext | None,
    ) -> None:
        """Begin, with a socket that does not block, and protocols of uvicorn.

        Copying one that was not set so would make it block for a moment, in all processes that have it: a
        worker that accepts at that moment would wait in the kernel, and answer nothing any more.
        """
        self._loop = asyncio.get_running_loop()
        self._copy = listening.dup()  # The event loop reads each descriptor for one purpose.
        self._protocol = protocol
        self._context = context
        self._seen = self._since = 0.0
        self._accepted: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._loop.add_reader(self._copy.fileno(), self._on_waiting)

    def close(self) -> None:
        """Accept no more, and close connections that are just being accepted."""
        self._is_closed = True
        self._loop.remove_reader(self._copy.fileno())
        self._copy.close()

    def _on_waiting(self) -> None:
        """Called in each turn of the event loop in which a client waits."""
        now = self._loop.time()
        if now - self._seen > _PAUSE_SECONDS:
            self._since = now
        self._seen = now
        if now - self._since < PATIENCE_SECONDS:
            return
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                client, _address = self._copy.accept()
            except OSError:  # None waits any more, or there are too many open files.
                self._since = now
                return
            task = self._loop.create_task(self._serve(client))
            self._accepted.add(task)
            task.add_done_callback(self._accepted.discard)

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        protocol = self._protocol()
        with suppress(OSError):  # A handshake of TLS that failed.
            await self._loop.connect_accepted_socket(lambda: protocol, client, ssl=self._context)
            if self._is_closed:
                protocol.shutdown()  # It was not among the connections when the server stopped.
