"""Start of a server: report a failure once, and stop at once at a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn

from eventapi.server.bursts import BurstAcceptor
from eventapi.server.signals import exit_now
from events.errors import known_error
from events.io.garbage import pause_gc

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

    _bursts: Sequence[BurstAcceptor] = ()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end; `start_gc` enables garbage collection after the start."""
        with pause_gc():
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with _capture_first_error() as first:
            try:
                await super().startup(sockets)
            except SystemExit:
                self.on_start_failure(first.reason or "the server could not start")
                raise
        self._bursts = [
            BurstAcceptor(one, self._protocol, self.config.ssl) for one in sockets or []
        ]

    def _protocol(self) -> asyncio.Protocol:
        """A protocol for a connection, as uvicorn makes it."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def on_start_failure(self, reason: str) -> None:
        """Called with the reason of a failed start."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for one in self._bursts:
            one.close()
        await super().shutdown(sockets)
        if self.force_exit:
            # A second Ctrl-C skips the wait for connections; the application must still close its files.
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started and sig == signal.SIGTERM:
            exit_now(sig, frame)
        super().handle_exit(sig, frame)


@contextmanager
def _capture_first_error() -> Iterator[FirstErrorFilter]:
    first = FirstErrorFilter()
    _uvicorn_log.addFilter(first)
    try:
        yield first
    finally:
        _uvicorn_log.removeFilter(first)
