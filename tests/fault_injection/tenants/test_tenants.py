"""Short form of the simulation of tenants over several machines."""

from __future__ import annotations

import pytest

from tests.fault_injection.tenants.model import Bugs
from tests.fault_injection.tenants.moves import run
from tests.fault_injection.tenants.placement import place, rates

SEEDS = range(40)


def test_every_tenant_stays_linearizable_through_moves_and_crashes() -> None:
    outcomes = [run(seed) for seed in SEEDS]
    assert [outcome.faults for outcome in outcomes if outcome.faults] == []
    # The runs had what they are about.
    assert sum(len(outcome.gaps) for outcome in outcomes) > len(SEEDS)
    assert sum(outcome.taken_back for outcome in outcomes) > len(SEEDS)
    assert sum(outcome.crashes for outcome in outcomes) > len(SEEDS)
    assert sum(one.answered for one in outcomes) > 0.8 * sum(one.calls for one in outcomes)


@pytest.mark.parametrize("bug", Bugs.__struct_fields__)
def test_control_a_planted_bug_is_found(bug: str) -> None:
    planted = Bugs(**{bug: True})
    assert any(run(seed, planted).faults for seed in range(200))


def test_a_seed_decides_a_run() -> None:
    assert run(7) == run(7)


def test_the_largest_tenant_bounds_the_rate() -> None:
    found = place(1_000, 16, 1.2)
    assert found.hashed <= found.balanced <= 1 / found.largest
    assert sum(rates(1_000, 1.2)) == pytest.approx(1)
