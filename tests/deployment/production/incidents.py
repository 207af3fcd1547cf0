"""Incidents of a production stack: a part is killed or restarted under load."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import msgspec

from tests.deployment.production.stack import Stack
from tests.end_to_end.history import READS, Operation, Outcome
from tests.end_to_end.server import Server
from tests.servers.postgresql import PostgreSQL

DOWN_SECONDS = 0.5
"""How long a part is down before it is started again."""


class Incident(msgspec.Struct):
    """An incident from its start to full recovery; times are from `time.monotonic_ns`."""

    name: str
    start: int
    end: int = 0


class Effect(msgspec.Struct):
    """The effect of an incident on clients: failed requests, and for how long."""

    name: str
    seconds: float
    reads: int
    writes: int
    window: float
    pause: float

    def __str__(self) -> str:
        return (
            f"{self.name:<42}{self.seconds:>7.2f}{self.reads:>8,}{self.writes:>8,}"
            f"{self.window:>9.2f}{self.pause:>9.2f}"
        )


HEADING = f"{'incident':<42}{'s down':>7}{'reads':>8}{'writes':>8}{'s window':>9}{'s pause':>9}"


class Incidents:
    """Runs incidents in sequence, each with time to recover."""

    def __init__(self, stack: Stack, seconds: float) -> None:
        """``seconds`` is the time between the end of an incident and the next."""
        self._stack = stack
        self._seconds = seconds
        self.happened: list[Incident] = []

    def run(self) -> None:
        """Run every incident that applies to the stack."""
        first, second, *_ = self._stack.instances
        with self._incident("an instance is killed (-9)"):
            first.kill()
            self._restart(first)
        with self._incident("an instance is stopped and started"):
            second.stop()
            self._restart(second)
        with self._incident("Valkey is killed (-9)"):
            self._stack.valkey.kill()
            time.sleep(DOWN_SECONDS)
            self._stack.valkey.start()
        database = self._stack.database
        if isinstance(database, PostgreSQL):
            with self._incident("PostgreSQL is shut down (immediate)"):
                database.stop_immediately()
                time.sleep(DOWN_SECONDS)
                database.start()
        if database is not None:
            with self._incident("the database is killed (-9)"):
                database.kill()
                time.sleep(DOWN_SECONDS)
                database.start()
            with self._incident("the database is stopped and started"):
                database.restart()
        with self._incident("every instance is killed (-9) at once"):
            for instance in self._stack.instances:
                instance.kill()
            for instance in self._stack.instances:
                instance.launch()
            for instance in self._stack.instances:
                instance.wait_until_ready()

    def _restart(self, instance: Server) -> None:
        time.sleep(DOWN_SECONDS)
        instance.launch()
        instance.wait_until_ready()

    @contextmanager
    def _incident(self, name: str) -> Iterator[None]:
        incident = Incident(name, time.monotonic_ns())
        self.happened.append(incident)
        yield
        incident.end = time.monotonic_ns()
        time.sleep(self._seconds)


def effects(incidents: Iterable[Incident], operations: Iterable[Operation]) -> list[Effect]:
    """The effects on clients, from each incident to the next.

    ``window`` is the time from the start of the incident to the end of the last failed request,
    ``pause`` the longest time without an acknowledged write.
    """
    found = []
    happened = list(incidents)
    starts = [incident.start for incident in happened] + [2**63]
    known = sorted(operations, key=lambda operation: operation.end)
    for incident, until in zip(happened, starts[1:], strict=True):
        during = [one for one in known if incident.start <= one.end < until]
        failed = [
            one for one in during if one.outcome is not Outcome.UNSENT and not _is_answered(one)
        ]
        reads = sum(one.kind in READS for one in failed)
        end = during[-1].end if during else incident.end
        last = max((one.end for one in failed), default=incident.start)
        written = [one.end for one in during if one.kind not in READS and one.succeeded]
        pauses = (later - earlier for earlier, later in pairwise((incident.start, *written, end)))
        found.append(
            Effect(
                incident.name,
                (incident.end - incident.start) / 1e9,
                reads,
                len(failed) - reads,
                (last - incident.start) / 1e9,
                max(pauses, default=0) / 1e9,
            )
        )
    return found


def _is_answered(operation: Operation) -> bool:
    return operation.succeeded or operation.refused
