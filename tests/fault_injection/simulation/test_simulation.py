"""The short form of the simulation: some seeds, and the planted bugs that it must find."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fault_injection.simulation.planted import PLANTED
from tests.fault_injection.simulation.run import run

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "240"))
BLOCK = 40

MANY, FEW = range(400), range(60)

SUBTLE = {
    "sync only the directories one made": MANY,
    "forget that lines stand together": range(1500, 2000),
    "trust the cache of the dead": MANY,
    "refuse a batch with a hole": range(800, 1200),
    "do not sync what was cleaned up": range(400, 800),
    "do not check a snapshot's sum": MANY,
    "use a snapshot newer than the keys": MANY,
    "finish no erasure at a start": MANY,
    "let a cancelled append leave a hole": MANY,
    "ignore a failed directory sync": MANY,
}
"""What takes a rare coincidence to be seen, and where to look for it."""

FAULTS = (
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
)
"""What must happen, and be found, in the first seeds already."""


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_promise_is_kept_whatever_happens(first: int) -> None:
    failures = [
        f"--one {result.seed}: {result.failure}"
        for result in map(run, range(first, first + BLOCK))
        if result.failure
    ]
    assert failures == []


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_control_a_planted_bug_is_found(name: str) -> None:
    assert any(run(seed, PLANTED[name]()).failure for seed in SUBTLE.get(name, FEW))


def test_an_integer_replays_a_life_call_by_call() -> None:
    first, again = run(11, keep_trace=True), run(11, keep_trace=True)
    assert first.trace
    assert first == again
    assert run(12).fingerprint != first.fingerprint


def test_a_life_does_not_depend_on_how_a_process_hashes() -> None:
    """Or a failure could not be replayed by another one."""
    command = [sys.executable, "-m", "tests.fault_injection.simulation", "--one", "11"]
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run(11).fingerprint in done.stdout


def test_the_faults_do_happen() -> None:
    """A simulation in which nothing goes wrong proves nothing."""
    counts = sum((run(seed).counts for seed in range(120)), start=type(run(0).counts)())
    for name in FAULTS:
        assert counts[name] > 0, name
