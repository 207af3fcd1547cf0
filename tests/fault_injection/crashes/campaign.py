"""Many incidents under one load, and the judgement over all that the clients saw of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from projections.snapshots import Snapshots
from tests.end_to_end.history import Operation
from tests.end_to_end.linearizability import Guilt, judge
from tests.end_to_end.server import Command, Server, by_serve
from tests.end_to_end.workload import Load, Workload
from tests.end_to_end.written import read_log
from tests.fault_injection.crashes.incidents import Incident, Scene
from tests.fault_injection.crashes.retrying import Retried, Stubborn
from tests.fault_injection.crashes.search import search

WORKERS, CLIENTS, STUBBORN = 4, 28, 4
"""Of 32 clients some retry every write until it is answered."""

SETTINGS = {"EVENTAPI_SNAPSHOT_EVERY": "2000"}
BREATH_SECONDS = 0.5
"""How long the load goes on undisturbed before an incident."""

TAKER_SECONDS = 30.0
END_SECONDS = 30.0

_REFUSED_FOR_NOW = (503,)

UNORDERED, TRACEBACKS, UNCLEAN = "items that no order explains", "tracebacks", "unclean ends"


class Totals(msgspec.Struct):
    """The figures of all directories so far."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    guilt: Counter[str] = msgspec.field(default_factory=Counter)
    findings: list[str] = []

    def add(self, other: Totals) -> None:
        """Take in the figures of another directory."""
        self.counts += other.counts
        self.guilt += other.guilt
        self.findings += other.findings

    def __str__(self) -> str:
        rows = [*sorted(self.counts.items())]
        names = (*Guilt, UNORDERED, TRACEBACKS, UNCLEAN)
        rows += [(name, self.guilt[name]) for name in names]
        return "\n".join((*(f"{name:<44}{count:>12,}" for name, count in rows), *self.findings))


def incidents(dice: random.Random) -> Iterator[Incident]:
    """Incidents without end, every kind as often as the others."""
    while True:
        yield from dice.sample(list(Incident), len(Incident))


def run_directory(
    data: Path, planned: Sequence[Incident], seed: int, command: Command = by_serve
) -> Totals:
    """Incidents on one growing directory, one after another, then the judgement."""
    totals = Totals()
    server = Server(data, WORKERS, command, SETTINGS)
    scene = Scene(server, random.Random(seed))
    load = Load([server.port], server.log, WORKERS, CLIENTS, seconds=1.0, seed=seed)
    try:
        server.__enter__()
        operations = asyncio.run(_under_load(load, scene, planned, totals))
        if server.stop(END_SECONDS) != 0:
            totals.guilt[UNCLEAN] += 1
        _wait_for_taker(data)
        _judge(server, operations, scene.harmed, totals)
    finally:
        server.kill()
    return totals


async def _under_load(
    load: Load, scene: Scene, planned: Sequence[Incident], totals: Totals
) -> list[Operation]:
    """All operations of all clients, while the incidents happen."""
    workload, retried, over = Workload(load), Retried(), asyncio.Event()
    scene.note_workers()

    def happen(_: Workload) -> None:
        for incident in planned:
            time.sleep(BREATH_SECONDS)
            scene.suffer(incident)
            totals.counts["cycles"] += 1
            totals.counts[f"cycles, {incident}"] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(STUBBORN):
            name = f"stubborn{number}-{load.seed}"
            client = Stubborn(name, load, await workload.account(name), retried)
            group.create_task(client.run(over.is_set))
        try:
            ran = await workload.run(happen)
        finally:
            over.set()
    totals.counts["writes of clients that retry"] += len(retried.operations)
    totals.counts["their repeated requests"] += retried.repeats
    return [*ran.operations, *retried.operations]


def _judge(server: Server, operations: list[Operation], harmed: set[int], totals: Totals) -> None:
    """Hold what the clients saw against the log, and item by item against any order at all."""
    log = read_log(server.log)
    verdict = judge(operations, log, harmed, _REFUSED_FOR_NOW)
    totals.counts += verdict.counts
    totals.counts["refused for now (503)"] += sum(one.status == 503 for one in operations)
    totals.counts["lines in the logs"] += len(log.lines)
    totals.counts["directories"] += 1
    totals.guilt.update({str(guilt): count for guilt, count in verdict.guilt.items()})
    totals.findings += verdict.findings
    figures, guilty = search(operations)
    totals.counts += figures
    totals.guilt[UNORDERED] += len(guilty)
    totals.findings += [f"{UNORDERED}: item {item} of {server.data.name}" for item in guilty[:5]]
    tracebacks = server.output.count("Traceback (most recent call last)")
    if tracebacks:
        totals.guilt[TRACEBACKS] += tracebacks
        totals.findings.append(server.output[server.output.index("Traceback") :][:4000])


def _wait_for_taker(data: Path) -> None:
    """Wait for a snapshot that is still being taken by a process whose parent was killed."""
    deadline = time.monotonic() + TAKER_SECONDS
    while (data / "snapshots").exists() and Snapshots(data / "snapshots").is_locked():
        if time.monotonic() > deadline:
            raise TimeoutError("a snapshot takes too long")
        time.sleep(0.05)
