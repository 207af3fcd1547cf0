"""``serve --reload``: a child that serves, restarted when the code changes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from uvicorn.supervisors.statreload import StatReload

from eventapi.server.starting import StartingServer
from eventapi.server.supervisor import interrupts_blocked


class Reloader(StatReload):
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
        self._is_stopping = False

    def signal_handler(self, sig: int, _frame: FrameType | None) -> None:
        """Make the next `pause` stop, and record whether SIGINT was the reason.

        Uvicorn sets an event here. Its lock may be held by the code that the signal interrupts,
        which could then never release it.
        """
        self.was_interrupted = self.was_interrupted or sig == signal.SIGINT
        self._is_stopping = True

    def pause(self) -> None:
        """Wait until the next look at the files; end the iteration after a signal."""
        time.sleep(self.config.reload_delay)
        if self._is_stopping:
            raise StopIteration

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
