"""``serve --reload``: a child that serves, restarted when the code changes."""

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
    """Uvicorn's reloader with a child that prints no traceback at Ctrl-C."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        report: Callable[[str], None],
    ) -> None:
        """The child calls ``report`` with the reason if it cannot start."""
        super().__init__(config, target=partial(_serve, config, report), sockets=sockets)
        self.was_interrupted = False

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and record whether SIGINT was the reason."""
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
    """The server of the child, which reports a failed start."""

    def __init__(self, config: uvicorn.Config, report: Callable[[str], None]) -> None:
        super().__init__(config)
        self._report = report

    def on_start_failure(self, reason: str) -> None:
        self._report(reason)


def _serve(
    config: uvicorn.Config,
    report: Callable[[str], None],
    sockets: list[socket.socket] | None = None,
) -> None:
    """Serve, in the child process."""
    server = _ReloadedServer(config, report)
    signal.signal(signal.SIGINT, server.handle_exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    server.run(sockets)
