"""Start of a server: report a failure once, and stop at once at a signal."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn

from eventapi.server.signals import exit_now
from events.errors import known_error
from events.io.garbage import pause_gc

ACCEPTED_AT_ONCE: Final = 8
"""How many connections of one socket are accepted in each turn of the event loop.

uvloop accepts one. While 128 clients are busy, a turn takes 20 ms, so a burst of new clients would wait
for seconds. Many more would let one of several idle workers accept a whole burst.
"""

_uvicorn_log = logging.getLogger("uvicorn.error")


class FirstErrorFilter(logging.Filter):
    """Suppresses uvicorn's lines about a failed start, and keeps the reason."""

    reason: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and self.reason is None:
            self.reason = record.getMessage()
        known = known_error(record.exc_info[1] if record.exc_info else None)
        if known is not None:
            self.reason = str(known.message)
        # Log all lines of an unforeseen error: it has a traceback, and is none of ours.
        return record.exc_info is not None and known is None


class StartingServer(uvicorn.Server):
    """A server that stops at once while it starts, and reports why a start failed."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end; `start_gc` enables garbage collection after the start."""
        with pause_gc():
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The loop accepts from each copy of a socket, and closes it at the end.
        if sockets is not None:
            copies = (_copy(one) for one in sockets for _ in range(ACCEPTED_AT_ONCE - 1))
            sockets = [*sockets, *copies]
        with _capture_first_error() as first:
            try:
                await super().startup(sockets)
            except SystemExit:
                self.on_start_failure(first.reason or "the server could not start")
                raise

    def on_start_failure(self, reason: str) -> None:
        """Called with the reason of a failed start."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            # A second Ctrl-C skips the wait for connections; the application must still close its files.
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started and sig == signal.SIGTERM:
            exit_now(sig, frame)
        super().handle_exit(sig, frame)


def _copy(one: socket.socket) -> socket.socket:
    """Another descriptor of a socket, which is closed on its own.

    `socket.dup` makes the socket a blocking one for a moment, in all processes that have it: a worker
    that tries to accept at that moment would wait in the kernel, and answer nothing any more.
    """
    return socket.socket(one.family, one.type, one.proto, os.dup(one.fileno()))


@contextmanager
def _capture_first_error() -> Iterator[FirstErrorFilter]:
    first = FirstErrorFilter()
    _uvicorn_log.addFilter(first)
    try:
        yield first
    finally:
        _uvicorn_log.removeFilter(first)
