"""A simulated machine for tests of the log's clock, and steps that tests share."""

from __future__ import annotations

from pathlib import Path

from eventapi.journal.clock import LogClock, Reference, write_reference
from eventapi.values.times import time_of
from events.errors import ClockJumped

START = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0


class Machine:
    """A machine whose clock can be set, and whose uptime cannot."""

    def __init__(self, skew: float = 0.0) -> None:
        self.wall = START + skew
        self.seconds_up = 1_000.0
        self.boot = "boot 1"

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.seconds_up += seconds

    def reboots(self, seconds_off: float = 60.0) -> None:
        self.wall += seconds_off
        self.seconds_up, self.boot = 10.0, f"{self.boot}+"

    def clock(self, last: str = "", path: Path | None = None) -> LogClock:
        """The clock of a process that starts now."""
        clock = LogClock(lambda: time_of(self.wall), lambda: self.seconds_up, path, self.boot)
        clock.start(last)
        return clock


def is_refused(clock: LogClock, last: str) -> bool:
    """Whether a write is refused, with a text that shows what to do."""
    try:
        clock.check(last)
    except ClockJumped as error:
        text = str(error.message)
        assert "Reads continue, and nothing was lost" in text
        assert "eventapi serve --accept-clock" in text
        assert clock.refuses
        return True
    assert not clock.refuses
    return False


def written(clock: LogClock, last: str) -> str:
    """The time of a line that is written now."""
    clock.check(last)
    return max(clock.now(), last)


def accept(machine: Machine, path: Path, last: str = "") -> None:
    """Accept the clock of a machine, as an operator does with ``--accept-clock``."""
    write_reference(path, Reference(machine.boot, machine.wall - machine.seconds_up, last))
