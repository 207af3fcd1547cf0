"""The log's clock: the only source of the current time.

Times on lines, sessions, refresh tokens, access tokens and idempotency records all use it. Rate
limits do not: they measure durations on one machine, with ``CLOCK_MONOTONIC``.

::

    wall clock ────────┐
    uptime of machine ─┼──> LogClock ──> times on lines, expiry, tokens
    last line ─────────┘

It is a hybrid logical clock: the wall clock, but never behind the last line of the log. So all
instances follow the fastest of their clocks. A lead over the wall clock shrinks by 1 % of the time
that passes, and the clock never runs backwards.

The uptime of a machine cannot be set, so the difference of wall clock and uptime is constant unless
the clock is set. A change of more than an hour is a jump: writes are refused, and reads use the time
as it would be without the jump. A file keeps the difference for a restart before the next boot.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Container, Sequence
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import Final

import msgspec

from eventapi.values.times import seconds_of, time_of
from events.errors import ClockJumped
from events.io.files import write_durably
from events.messages.server_log import (
    CLOCK_AHEAD_ACCEPTED,
    CLOCK_NOT_KEPT,
    CLOCK_RIGHT,
    CLOCK_UNREADABLE,
)
from events.record import Record
from events.vocabulary.sessions import SessionRefreshed
from projections.state import State

logger = logging.getLogger("eventapi.journal")

MAX_JUMP_SECONDS: Final = 3_600
MAX_PAUSE_SECONDS: Final = 366 * 86_400
"""How far the clock may be ahead of the log after a boot, because a machine may be off for long."""

_SAVE_SECONDS: Final = 1.0
_SLEW: Final = 0.99
"""How fast the clock runs while it is ahead of the wall clock."""

_COARSE_SECONDS: Final = 0.05
"""The kernel's file has hundredths of a second."""

_TICK_SECONDS: Final = 1.0
_UPTIME: Final = Path("/proc/uptime")
_NO_FILE: Final = -1
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def system_now() -> str:
    """The wall clock of this machine: RFC 3339 in UTC with microseconds."""
    return time_of(time.time())


class SystemUptime:
    """Callable: seconds since this machine booted, including time suspended.

    Each call reads the kernel's file.
    ``CLOCK_BOOTTIME`` is the fallback only, because tools that fake the clock of a process, such as
    libfaketime, fake it too. It is used where the file is a mount: lxcfs shows the uptime of the
    container there, which restarts within one boot.
    """

    def __init__(self) -> None:
        self._file: int | None = None

    def __call__(self) -> float:
        try:
            if self._file is None:
                # Unlike `Path.is_mount`, it is right about a file.
                self._file = _NO_FILE if os.path.ismount(_UPTIME) else _open_uptime()
            if self._file == _NO_FILE:
                return time.clock_gettime(time.CLOCK_BOOTTIME)
            return float(os.pread(self._file, 64, 0).split()[0])
        except OSError:
            return time.monotonic()


def _open_uptime() -> int:
    return os.open(_UPTIME, os.O_RDONLY | os.O_CLOEXEC)


def boot_id() -> str:
    """The identifier of this machine's current boot; empty if there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Reference(msgspec.Struct, frozen=True):
    """The trusted difference of wall clock and uptime in a boot, in seconds.

    ``accepted`` is the last time of the log up to which an operator accepted that it is ahead.
    """

    boot: str
    epoch: float
    accepted: str = ""


class LogClock:
    """The log's clock in one process. Call `start` first."""

    def __init__(
        self,
        now: Callable[[], str],
        uptime: Callable[[], float] | None = None,
        path: Path | None = None,
        boot: str | None = None,
    ) -> None:
        """``now`` is the wall clock; ``path`` is the file of the reference, if any.

        Without ``uptime`` no jump is detected, and a clock ahead of the wall clock does not advance
        until the wall clock reaches it.
        """
        # Every request with a token reads it, and text would cost more than the rest of the check.
        self._wall_seconds = time.time if now is system_now else lambda: seconds_of(now())
        self._uptime_seconds = uptime
        self._path = path
        self._boot = (boot_id() if boot is None else boot) if uptime else ""
        self._epoch: float | None = None
        self._accepted = ""
        self._saved: Reference | None = None
        self._last = ""
        self._last_seconds = -inf
        self._wall = self._uptime = self._seconds = self._latest = -inf
        self._second, self._second_end = -1, ""
        self._fault = ""

    def start(self, last: str) -> None:
        """Start with the last time of the log; empty if the log is."""
        self._epoch = None  # Forget readings from before the reference was loaded.
        self._seconds = self._latest = self._wall = -inf
        self._load()
        self.observe(last)
        if self._fault:
            return
        self._save()
        if last <= self._accepted and self._last_seconds > self._wall:
            span = _span(self._last_seconds - self._wall)
            logger.warning(CLOCK_AHEAD_ACCEPTED.fill(span=span, last=last))

    def seconds(self) -> float:
        """The time in seconds since 1970.

        Between two readings of the uptime it follows the wall clock. A jump makes the next reading due, so it is detected at once.
        """
        wall = self._wall_seconds()
        if not 0 <= wall - self._wall < _TICK_SECONDS:
            self._tick(wall)
            return self._seconds
        return self._seconds + (wall - self._wall)

    def second_end(self, seconds: float) -> str:
        """The end of the second that contains ``seconds``, in a record's form.

        Compare expiry times with it: times up to it count as passed.
        """
        second = int(seconds)
        if second != self._second:
            self._second, self._second_end = second, time_of(second + 0.999999)
        return self._second_end

    def now(self) -> str:
        """The time in a record's form; never earlier than a time returned before."""
        self._latest = max(self._latest, self.seconds())
        return time_of(self._latest)

    def observe(self, last: str) -> None:
        """Set the last time of the log, which other processes may have advanced."""
        if last != self._last:
            self._last, self._last_seconds = last, seconds_of(last)
        if self._uptime_seconds is None:
            self._seconds = max(self._seconds, self._last_seconds)
        elif self._last_seconds >= self.seconds():
            self._tick(self._wall_seconds())

    def check(self, last: str) -> None:
        """Raise `ClockJumped` if writes must be refused; ``last`` as in `observe`."""
        self.observe(last)
        if self._fault:
            self._load()
            self._tick(self._wall_seconds())
        if self._fault:
            raise ClockJumped(self._fault)
        self._save()

    @property
    def refuses(self) -> bool:
        """Whether writes are refused, as of the last reading."""
        return bool(self._fault)

    @property
    def drift(self) -> float:
        """The lead over the wall clock in seconds; negative after a jump forward."""
        self._tick(self._wall_seconds())
        return max(self._seconds, self._last_seconds) - self._wall

    def _tick(self, wall: float) -> None:
        """Read the uptime, judge the wall clock, and move the clock on."""
        uptime = 0.0 if self._uptime_seconds is None else self._uptime_seconds()
        passed = 0.0 if self._uptime == -inf else max(uptime - self._uptime, 0.0)
        if uptime and abs(wall - self._wall - passed) < _COARSE_SECONDS:
            # The wall clock was not set since the last reading, and has a finer resolution.
            passed = max(wall - self._wall, 0.0)
        estimate = -inf if self._epoch is None else self._epoch + uptime
        fault = "" if self._uptime_seconds is None else self._judge(wall, estimate)
        if not fault:
            self._epoch, estimate = wall - uptime, wall
        elif estimate == -inf:
            # Only the log has a time.
            estimate = self._last_seconds
        elif abs(wall - estimate) <= MAX_JUMP_SECONDS:
            estimate = wall
        self._wall, self._uptime = wall, uptime
        self._seconds = max(estimate, self._seconds + passed * (1 if fault else _SLEW))
        if self._last > self._accepted and self._last_seconds - estimate <= MAX_JUMP_SECONDS:
            self._seconds = max(self._seconds, self._last_seconds)
        if fault != self._fault:
            self._report(fault)

    def _judge(self, wall: float, estimate: float) -> str:
        """Why the wall clock is wrong, as a text to log; empty if it may be right."""
        if estimate != -inf and abs(wall - estimate) > MAX_JUMP_SECONDS:
            way = "forward" if wall > estimate else "back"
            reason = f"The clock of this machine jumped {way} by {_span(abs(wall - estimate))}"
        elif self._last_seconds - wall > MAX_JUMP_SECONDS and self._last > self._accepted:
            behind = _span(self._last_seconds - wall)
            reason = f"The clock of this machine is {behind} behind the last event of the log"
        elif estimate == -inf and wall - self._last_seconds > MAX_PAUSE_SECONDS and self._last:
            ahead = _span(wall - self._last_seconds)
            reason = f"The clock of this machine is {ahead} ahead of the last event of the log"
        else:
            return ""
        return reason

    def _report(self, fault: str) -> None:
        # Report a fault once, although the span in its text grows.
        if fault and not self._fault:
            logger.error(ClockJumped(fault).message)
        elif self._fault and not fault:
            logger.warning(CLOCK_RIGHT)
        self._fault = fault

    def _load(self) -> None:
        """Load the reference from the file, if it is of this boot and new to this process."""
        found = None if self._path is None else read_reference(self._path)
        if found is None or found == self._saved:
            return
        self._saved, self._accepted = found, found.accepted
        if found.boot and found.boot == self._boot:
            if self._epoch is None or abs(found.epoch - self._epoch) > MAX_JUMP_SECONDS:
                # An operator accepted another clock, so start again with it.
                self._seconds = self._latest = -inf
            self._epoch = found.epoch

    def _save(self) -> None:
        if self._path is None or self._epoch is None or not self._boot:
            return
        saved = self._saved
        if (
            saved is not None
            and saved.boot == self._boot
            and abs(saved.epoch - self._epoch) <= _SAVE_SECONDS
        ):
            return
        reference = Reference(self._boot, self._epoch, self._accepted)
        try:
            write_reference(self._path, reference)
        except OSError as error:
            logger.warning(CLOCK_NOT_KEPT.fill(path=self._path, reason=error))
        self._saved = reference


def read_reference(path: Path) -> Reference | None:
    """The reference in a file, or ``None``; a file that cannot be read is logged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Reference)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning(CLOCK_UNREADABLE.fill(path=path, reason=error))
        return None


def write_reference(path: Path, reference: Reference) -> None:
    """Write a reference to its file; raises `OSError`."""
    write_durably(path, msgspec.json.encode(reference) + b"\n")


class RecentRefreshes:
    """The refreshes that this process applied in the last seconds.

    The seconds are of uptime, so setting the clock has no influence.
    """

    def __init__(self, uptime: Callable[[], float] | None, seconds: float) -> None:
        """Without ``uptime`` nothing is recent."""
        self._uptime_seconds = uptime
        self._span = seconds
        self._since: dict[tuple[str, int], float] = {}

    def track(self, records: Sequence[Record], state: State) -> None:
        """Add the refreshes among records that were just applied to a state."""
        for record in records:
            if type(record.event) is SessionRefreshed:
                session = state.sessions.by_id.get(record.subject.partition("/")[2])
                if session is not None:
                    self.add((session.id, session.generation))

    def add(self, key: tuple[str, int]) -> None:
        """Add a session and its generation; adding it again does not make it more recent."""
        if self._uptime_seconds is not None:
            self._since.setdefault(key, self._uptime_seconds())

    def current(self) -> Container[tuple[str, int]]:
        """The refreshes that are recent now."""
        if self._since and self._uptime_seconds is not None:
            oldest = self._uptime_seconds() - self._span
            for key in list(takewhile(lambda key: self._since[key] < oldest, self._since)):
                del self._since[key]
        return self._since.keys()


def _span(seconds: float) -> str:
    """A duration in words: its two largest units."""
    parts = []
    rest = int(seconds)
    for unit, size in (("year", 31_536_000), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts[:2])
