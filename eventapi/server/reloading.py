"""``serve --reload``: a child that serves, and is replaced when the code changes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from uvicorn.supervisors import ChangeReload

from eventapi.server.starting import StartingServer
from eventapi.server.supervisor import interrupts_blocked


class Reloader(ChangeReload):  # type: ignore[valid-type,misc]  # one of two classes
    """Uvicorn's reloader, whose child prints no traceback at Ctrl-C."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        report: Callable[[str], None],
    ) -> None:
        """``report`` is called in the child with the reason why it cannot start."""
        super().__init__(config, target=partial(_serve, config, report), sockets=sockets)
        self.was_interrupted = False

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """End, and remember by what."""
        self.was_interrupted = self.was_interrupted or sig == signal.SIGINT
        super().signal_handler(sig, frame)

    def startup(self) -> None:
        """Start the first child."""
        with interrupts_blocked():
            super().startup()

    def restart(self) -> None:
        """Replace the child."""
        with interrupts_blocked():
            super().restart()


class _ReloadedServer(StartingServer):
    """The server of a child, which reports why it cannot start; the next change starts another."""

    def __init__(self, config: uvicorn.Config, report: Callable[[str], None]) -> None:
        super().__init__(config)
        self._report = report

    def refused(self, reason: str) -> None:
        self._report(reason)


def _serve(
    config: uvicorn.Config,
    report: Callable[[str], None],
    sockets: list[socket.socket] | None = None,
) -> None:
    """In the new process: serve."""
    server = _ReloadedServer(config, report)
    signal.signal(signal.SIGINT, server.handle_exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    server.run(sockets)
