"""What a server does while it starts: report the reason of a failure once, and end at once."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from eventapi.server.signals import exit_now
from events.errors import known_error

_uvicorn_log = logging.getLogger("uvicorn.error")


class FirstErrorFilter(logging.Filter):
    """Holds back what uvicorn says of a failed start, and keeps the reason."""

    reason: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and self.reason is None:
            self.reason = record.getMessage()
        known = known_error(record.exc_info[1] if record.exc_info else None)
        if known is not None:
            self.reason = str(known.message)
        # A traceback means that the start failed for no reason we know: that is worth all lines.
        return record.exc_info is not None and known is None


class StartingServer(uvicorn.Server):
    """A server that ends at once while it starts, and reports why it could not."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with _capture_first_error() as heard:
            try:
                await super().startup(sockets)
            except SystemExit:
                self.on_start_failure(heard.reason or "the server could not start")
                raise

    def on_start_failure(self, reason: str) -> None:
        """Called with the reason when the start has failed."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            # A second Ctrl-C ends the wait for connections; the application still closes its files.
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started and sig == signal.SIGTERM:
            exit_now(sig, frame)
        super().handle_exit(sig, frame)


@contextmanager
def _capture_first_error() -> Iterator[FirstErrorFilter]:
    heard = FirstErrorFilter()
    _uvicorn_log.addFilter(heard)
    try:
        yield heard
    finally:
        _uvicorn_log.removeFilter(heard)
