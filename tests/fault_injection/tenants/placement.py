"""How much many machines take together, if every tenant has its log on one of them.

The rates of tenants follow Zipf's law: the tenant of rank ``n`` writes ``1 / n ** exponent`` as much as
the first. A machine takes so many writes per second, and the first full one ends the growth of all.
"""

from __future__ import annotations

from random import Random

import msgspec


class Placement(msgspec.Struct, frozen=True):
    """Total rates, in units of one machine's, and the moves that lead from one to the other.

    ``largest`` is the share of the largest tenant: 1 divided by it bounds every rate.
    """

    hashed: float
    balanced: float
    moved: int
    largest: float


def rates(tenants: int, exponent: float) -> list[float]:
    """The share of each tenant, largest first; the sum is 1."""
    found = [1 / rank**exponent for rank in range(1, tenants + 1)]
    total = sum(found)
    return [rate / total for rate in found]


def place(tenants: int, machines: int, exponent: float, seed: int = 1) -> Placement:
    """Compare a placement by hash with one that moves tenants from full machines."""
    rng = Random(seed)
    shares = rates(tenants, exponent)
    homes = [rng.randrange(machines) for _ in shares]
    loads = [0.0] * machines
    for share, home in zip(shares, homes, strict=True):
        loads[home] += share
    hashed = 1 / max(loads)
    moved = _balance(shares, homes, loads)
    return Placement(hashed, 1 / max(loads), moved, shares[0])


def _balance(shares: list[float], homes: list[int], loads: list[float]) -> int:
    """Move the largest tenant that fits, from the fullest to the emptiest machine; the moves."""
    moved = 0
    while True:
        full = loads.index(max(loads))
        empty = loads.index(min(loads))
        excess = (loads[full] - loads[empty]) / 2
        fitting = (n for n, home in enumerate(homes) if home == full and shares[n] <= excess)
        tenant = next(fitting, None)
        # A move costs a pause, so it has to be worth one percent of a machine.
        if tenant is None or shares[tenant] < 0.01 / len(loads):
            return moved
        homes[tenant] = empty
        loads[full] -= shares[tenant]
        loads[empty] += shares[tenant]
        moved += 1
