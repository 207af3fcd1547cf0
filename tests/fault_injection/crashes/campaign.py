"""Incidents under a load on one directory, and the check of all operations."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from eventapi.testing.items import ITEMS
from events.log.file.paths import closed_segments
from projections.snapshots import Snapshots
from tests.end_to_end.history import Operation
from tests.end_to_end.linearizability import Violation, judge
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.end_to_end.waiting import wait_until
from tests.end_to_end.workload import Load, Workload
from tests.fault_injection.crashes.incidents import CrashTarget, Incident
from tests.fault_injection.crashes.retrying import RetryingClient, RetryTotals
from tests.fault_injection.crashes.search import search

WORKERS, CLIENTS, RETRYING = 4, 28, 4
"""Of 32 clients, four retry every write until it is answered."""

SETTINGS = {"EVENTAPI_SNAPSHOT_EVERY": "2000"}
UNDISTURBED_SECONDS = 0.5
"""How long the load runs before each incident."""

SNAPSHOT_SECONDS = 30.0
END_SECONDS = 30.0

_EXPECTED_STATUSES = (503,)

UNORDERED, TRACEBACKS, FAILED_EXITS = (
    "items that no order explains",
    "tracebacks",
    "exits with an error",
)


class Totals(msgspec.Struct):
    """Counts, violations and findings of all directories."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    violations: Counter[str] = msgspec.field(default_factory=Counter)
    findings: list[str] = []

    def add(self, other: Totals) -> None:
        """Add the totals of another directory."""
        self.counts += other.counts
        self.violations += other.violations
        self.findings += other.findings

    def __str__(self) -> str:
        rows = [*sorted(self.counts.items())]
        names = (*Violation, UNORDERED, TRACEBACKS, FAILED_EXITS)
        rows += [(name, self.violations[name]) for name in names]
        return "\n".join((*(f"{name:<44}{count:>12,}" for name, count in rows), *self.findings))


def incidents(random_source: random.Random) -> Iterator[Incident]:
    """Yield incidents endlessly, each kind equally often."""
    while True:
        yield from random_source.sample(list(Incident), len(Incident))


def command_of(seed: int) -> Command:
    """The server of a directory; every other one closes segments all the time."""
    return uvicorn_of("tests.end_to_end.planted:closings_of_tiles") if seed % 2 == 0 else by_serve


def run_directory(
    data: Path,
    planned: Sequence[Incident],
    seed: int,
    command: Command = by_serve,
    min_segments: int = 0,
) -> Totals:
    """Run incidents on one directory in sequence, then check all operations.

    The first incident waits until the server has closed ``min_segments``.
    """
    totals = Totals()
    server = Server(data, WORKERS, command, SETTINGS)
    target = CrashTarget(server, random.Random(seed))
    load = Load([server.port], server.log, WORKERS, CLIENTS, seconds=1.0, seed=seed)
    try:
        server.__enter__()
        operations = asyncio.run(_under_load(load, target, planned, totals, min_segments))
        if server.stop(END_SECONDS) != 0:
            totals.violations[FAILED_EXITS] += 1
        _wait_for_snapshot(data)
        _judge(server, operations, target.workers_seen, totals)
    finally:
        server.kill()
    return totals


async def _under_load(
    load: Load,
    target: CrashTarget,
    planned: Sequence[Incident],
    totals: Totals,
    min_segments: int,
) -> list[Operation]:
    """Run the load and the incidents; return all operations."""
    workload, retried, over = Workload(load), RetryTotals(), asyncio.Event()
    target.record_workers()

    def happen(_: Workload) -> None:
        wait_until(lambda: len(closed_segments(load.log)) >= min_segments)
        for incident in planned:
            time.sleep(UNDISTURBED_SECONDS)
            target.cause(incident)
            totals.counts["cycles"] += 1
            totals.counts[f"cycles, {incident}"] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(RETRYING):
            name = f"retrying{number}-{load.seed}"
            client = RetryingClient(name, load, await workload.create_account(name), retried)
            group.create_task(client.run(over.is_set))
        try:
            ran = await workload.run(happen)
        finally:
            over.set()
    totals.counts["writes of clients that retry"] += len(retried.operations)
    totals.counts["their repeated requests"] += retried.repeats
    return [*ran.operations, *retried.operations]


def _judge(server: Server, operations: list[Operation], harmed: set[int], totals: Totals) -> None:
    """Check the operations against the log, and per item against any possible order."""
    log = read_log(server.log)
    verdict = judge(operations, log, harmed, _EXPECTED_STATUSES)
    totals.counts += verdict.counts
    totals.counts["refused for now (503)"] += sum(one.status == 503 for one in operations)
    totals.counts["lines in the logs"] += len(log.lines)
    totals.counts["directories"] += 1
    totals.counts["closed segments"] += len(closed_segments(server.log))
    totals.violations.update({str(kind): count for kind, count in verdict.violations.items()})
    totals.findings += verdict.findings
    figures, unexplained = search(operations)
    totals.counts += figures
    totals.violations[UNORDERED] += len(unexplained)
    totals.findings += [
        f"{UNORDERED}: item {item} of {server.data.name}" for item in unexplained[:5]
    ]
    tracebacks = server.output.count("Traceback (most recent call last)")
    if tracebacks:
        totals.violations[TRACEBACKS] += tracebacks
        totals.findings.append(server.output[server.output.index("Traceback") :][:4000])


def _wait_for_snapshot(data: Path) -> None:
    """Wait for a snapshot process whose parent was killed."""
    deadline = time.monotonic() + SNAPSHOT_SECONDS
    while (data / "snapshots").exists() and Snapshots(data / "snapshots", ITEMS).is_locked():
        if time.monotonic() > deadline:
            raise TimeoutError("a snapshot takes too long")
        time.sleep(0.05)
