"""Deadlines of a connection: one timer, and the time that each step may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from connecting, to the end of its head."""

BODY_SECONDS = 20.0
"""From the first byte of a request to the end of its body; a body at `MIN_RATE` may take longer."""

MIN_RATE = 1_024
"""Bytes a second; a client that sends a body or reads an answer more slowly is disconnected."""

LINGER_SECONDS = 3.0
"""How long input is read and discarded after the last answer, so that the client can read it."""


class Deadlines:
    """The start of the current step, and a timer that only moves to earlier times.

    So a request costs no timer of its own: the check at the old time sets the next one.
    """

    __slots__ = ("_loop", "_timer", "alarm", "since")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.alarm = inf
        """The loop's time of the next check; infinity where none is due."""
        self.since = 0.0
        """The loop's time at which the current step began."""

    def restart(self) -> None:
        """Begin a step now."""
        self.since = self._loop.time()

    def wake(self, due: float, check: Callable[[], None]) -> None:
        """Call ``check`` at that time at the latest."""
        if due < self.alarm:
            if self._timer is not None:
                self._timer.cancel()
            self.alarm = due
            self._timer = self._loop.call_at(due, check)

    def expire(self) -> float:
        """Forget the timer that has just called its check; return the loop's time."""
        self.alarm, self._timer = inf, None
        return self._loop.time()

    def cancel(self) -> None:
        """Stop the timer, because the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()

    def head_due(self) -> float:
        """When a head that began at ``since`` must be complete."""
        return self.since + HEAD_SECONDS

    def body_due(self, received: int) -> float:
        """When a request must be complete of whose body so many bytes have arrived."""
        return self.since + BODY_SECONDS + received / MIN_RATE
