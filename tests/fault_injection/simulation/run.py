"""Run one seed: one machine from its first start to the final comparison."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from random import Random
from unittest import mock

import msgspec

from eventapi.tasks import closing as closing_task
from eventapi.tasks import snapshots as snapshotting
from events.io.garbage import pause_gc
from tests.fault_injection.simulation.calls import Calls
from tests.fault_injection.simulation.findings import findings
from tests.fault_injection.simulation.inspection import damage_snapshots, inspect
from tests.fault_injection.simulation.machine import Faults, Machine
from tests.fault_injection.simulation.operating_system import operating_system
from tests.fault_injection.simulation.workload import World


class Result(msgspec.Struct, frozen=True):
    """The result of a seed; ``failure`` is empty if all promises were kept."""

    seed: int
    failure: str
    counts: Counter[str]
    fingerprint: str
    trace: list[str]


def faults_of(random: Random) -> Faults:
    """Draw how likely each fault is in this run: often, seldom or never."""

    def some(*chances: float) -> float:
        return random.choice(chances)

    return Faults(
        switch=some(0.02, 0.2, 0.5),
        stop=some(0, 0, 0.001),
        kill=some(0, 0.0005, 0.003),
        power=some(0, 0.0003, 0.0015),
        sync=some(0, 0, 0.02, 0.1),
        full=some(0, 0, 0.03),
        short=some(0, 0, 0.1),
        slow=some(0, 0.02, 0.1),
        vault=some(0, 0, 0.01),
    )


def segment_bytes_of(seed: int) -> int:
    """From which size on segments are closed in this run, 0 for never."""
    # Drawn apart: a run without closings makes the same calls as before there were any.
    return Random(f"segments of {seed}").choice((0, 0, 1, 1, 2_000))


def run(
    seed: int, bug: AbstractContextManager[object] | None = None, *, keep_trace: bool = False
) -> Result:
    """Run a seed, optionally with a planted bug."""
    random = Random(seed)
    machine = Machine(random, faults_of(random))
    machine.trace = [] if keep_trace else None
    calls = Calls(machine)
    world = World(
        machine,
        calls,
        requests=random.choice((12, 40, 80)),
        processes=random.choice((1, 2, 3)),
        segment_bytes=segment_bytes_of(seed),
    )
    with (
        pause_gc(),
        operating_system(calls, pieces=random.choice((1500, 6000, 1 << 20))),
        mock.patch.object(snapshotting, "_take", world.start_snapshot),
        mock.patch.object(closing_task, "close_segments", world.close_segments),
        findings(machine),
        bug or nullcontext(),
    ):
        try:
            _run_to_end(machine, world)
        except Exception as error:
            world.failures.append(error)
        finally:
            machine.kill_all()
    failure = f"{type(world.failures[0]).__name__}: {world.failures[0]}" if world.failures else ""
    return Result(seed, failure, machine.counts, machine.fingerprint, machine.trace or [])


def _run_to_end(machine: Machine, world: World) -> None:
    world.start_all()
    while machine.run():
        machine.cut_power()
        damage_snapshots(world)
        if not world.is_over:
            world.start_all()
    inspect(world)
