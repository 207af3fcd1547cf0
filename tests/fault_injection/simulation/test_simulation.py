"""Short form of the simulation: some seeds, and the planted bugs.

SIMULATION_SEEDS sets the number of seeds. See `tests.fault_injection.simulation.__main__`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fault_injection.simulation.planted import PLANTED
from tests.fault_injection.simulation.run import run

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "240"))
BLOCK = 40

MANY_SEEDS, FEW_SEEDS = range(400), range(60)

RARE_BUG_SEEDS = {
    "sync only the directories one made": MANY_SEEDS,
    "forget that lines stand together": range(200, 400),
    "trust the cache of the dead": range(190, 400),
    "trust the mark of the dead": range(4250, 4260),
    "refuse a batch with a hole": range(700, 1200),
    "do not sync what was cleaned up": range(400, 800),
    "do not check a snapshot's sum": MANY_SEEDS,
    "use a snapshot newer than the keys": range(740, 1200),
    "finish no erasure at a start": MANY_SEEDS,
    "let a cancelled append leave a hole": range(190, 400),
    "ignore a failed directory sync": MANY_SEEDS,
    "forget the name of the cut file": MANY_SEEDS,
    "close what is not published": range(110, 400),
}
"""Bugs that only a rare coincidence reveals, and seeds that have it."""

EXPECTED_COUNTS = (
    "kills",
    "power cuts",
    "failed syncs",
    "failed syncs of directories",
    "disk full",
    "short writes",
    "starts",
    "clients hung up",
    "writers cancelled",
    "snapshots damaged",
    "vault failures",
    "found: all whole",
    "found: a torn tail, cut",
    "found: a tail with NUL bytes, cut",
    "found: unpublished lines, kept",
    "found: a failed sync, cut back",
    "found: a log without a mark",
    "found: a word behind its slot",
    "found: a snapshot of this log",
    "found: a snapshot past the mark",
    "found: a damaged snapshot",
    "found: a key of an erased user",
    "found: damage, refused as DamagedLog",
    "found: damage, refused as MissingEvents",
    "closings",
    "found: a log in two files",
    "found: a log that another process cut",
    "found: a segment from before a crash",
)
"""Faults and findings that must occur within the first seeds."""


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_all_promises_hold_under_faults(first: int) -> None:
    failures = [
        f"--one {result.seed}: {result.failure}"
        for result in map(run, range(first, first + BLOCK))
        if result.failure
    ]
    assert failures == []


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_control_a_planted_bug_is_found(name: str) -> None:
    assert any(run(seed, PLANTED[name]()).failure for seed in RARE_BUG_SEEDS.get(name, FEW_SEEDS))


def test_a_seed_replays_a_run_call_by_call() -> None:
    first, again = run(11, keep_trace=True), run(11, keep_trace=True)
    assert first.trace
    assert first == again
    assert run(12).fingerprint != first.fingerprint


def test_a_run_does_not_depend_on_hash_randomization() -> None:
    """Otherwise another process could not replay a failure."""
    command = [sys.executable, "-m", "tests.fault_injection.simulation", "--one", "11"]
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run(11).fingerprint in done.stdout


def test_control_every_fault_occurs() -> None:
    """A simulation in which nothing fails would prove nothing."""
    counts = sum((run(seed).counts for seed in range(120)), start=type(run(0).counts)())
    for name in EXPECTED_COUNTS:
        assert counts[name] > 0, name
