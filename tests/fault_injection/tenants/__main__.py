"""Simulate tenants over several machines: ``python -m tests.fault_injection.tenants --seeds 0..2000``.

Prints what the decision in docs/decisions/tenants.md quotes. Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from statistics import median

from tests.fault_injection.tenants.model import Bugs
from tests.fault_injection.tenants.moves import run
from tests.fault_injection.tenants.placement import place

TENANTS = 10_000
SEEDS_OF_A_BUG = 60


def placements() -> Iterator[str]:
    """The rate of a fleet, by machines and by how unequal its tenants are."""
    yield (
        f"{'machines':>8} {'exponent':>8} {'by hash':>8} {'balanced':>8} {'moves':>6} {'bound':>6}"
    )
    for machines in (4, 16, 64):
        for exponent in (0.8, 1.0, 1.2):
            found = place(TENANTS, machines, exponent)
            figures = f"{found.hashed:8.1f} {found.balanced:8.1f} {found.moved:6}"
            yield f"{machines:8} {exponent:8} {figures} {1 / found.largest:6.1f}"


def report(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a script reports


def main() -> int:
    """Run all seeds, then each planted bug; 1 if a promise was broken or a bug was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0..200", help="A..B, without B")
    first, _, last = parser.parse_args().seeds.partition("..")
    report("\n".join(placements()))
    outcomes = {seed: run(seed) for seed in range(int(first), int(last))}
    failed = {seed: outcome.faults[0] for seed, outcome in outcomes.items() if outcome.faults}
    for seed, fault in failed.items():
        report(f"seed {seed}: {fault}")
    every = outcomes.values()
    gaps = sorted(1_000 * gap for outcome in every for gap in outcome.gaps)
    report(
        f"{len(outcomes):,} runs, {sum(one.calls for one in every):,} calls, {len(gaps):,} moves, "
        f"{sum(one.taken_back for one in every):,} taken back, "
        f"{sum(one.crashes for one in every):,} crashes: {len(failed)} broken promises; "
        f"pause of a move {median(gaps):.0f} ms, at most {gaps[-1]:.0f} ms"
    )
    missed = []
    for bug in Bugs.__struct_fields__:
        planted = Bugs(**{bug: True})
        found = sum(bool(run(seed, planted).faults) for seed in range(SEEDS_OF_A_BUG))
        report(f"planted: {bug.replace('_', ' ')}: found in {found} of {SEEDS_OF_A_BUG} runs")
        missed += [] if found else [bug]
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
