"""Run the model under crashes and moves, and check what clients saw."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tests.fault_injection.tenants.model import Bugs, Call, Machine, Steps, World

SECONDS = 40.0
"""Simulated time of a run."""

CALLS = 150
CLIENTS = 3
"""Clients of each tenant, and the calls of each."""

NO_BUGS = Bugs()


class Outcome(msgspec.Struct, frozen=True):
    """What a run did; ``faults`` are broken promises, ``gaps`` those of the completed moves."""

    faults: list[str]
    calls: int
    answered: int
    gaps: list[float]
    taken_back: int
    crashes: int


def run(seed: int, bugs: Bugs = NO_BUGS, *, machines: int = 3, tenants: int = 3) -> Outcome:
    """Simulate one seed."""
    world = World(seed, machines, tenants, bugs)
    for tenant in range(tenants):
        for _ in range(CLIENTS):
            world.start(world.client(tenant, CALLS))
    crashes: list[int] = []
    world.start(_moves(world, tenants))
    world.start(_crashes(world, crashes))
    world.run(SECONDS)
    faults = [fault for tenant in range(tenants) for fault in _faults(world, tenant)]
    answered = sum(call.seen is not None for call in world.calls)
    return Outcome(faults, len(world.calls), answered, world.gaps, world.taken_back, len(crashes))


def _moves(world: World, tenants: int) -> Steps:
    while True:
        yield 0.3
        target = world.rng.choice(world.machines)
        world.start(world.move(world.rng.randrange(tenants), target))


def _crashes(world: World, crashes: list[int]) -> Steps:
    while True:
        yield 1.0
        machine: Machine = world.rng.choice(world.machines)
        if machine.up:
            crashes.append(machine.number)
            world.start(world.crash(machine))


def _faults(world: World, tenant: int) -> Iterable[str]:
    """The broken promises about one tenant: those of a linearizable log."""
    log = world.machines[world.directory[tenant].machine].logs.get(tenant)
    if log is None:
        yield f"tenant {tenant}: the machine of the directory has no log"
        return
    for call in (call for call in world.calls if call.tenant == tenant and call.kind == "write"):
        if len(found := [key for key in log.keys if key in call.keys]) > 1:
            yield f"tenant {tenant}: the write {found} is doubled"
        if call.seen is not None and not {*log.keys[call.seen - 1 : call.seen]} & {*call.keys}:
            yield f"tenant {tenant}: the write {call.keys} is lost"
    yield from _late(tenant, [call for call in world.calls if call.tenant == tenant])


def _late(tenant: int, calls: Iterable[Call]) -> Iterable[str]:
    """Calls that did not see what was known before they began."""
    answered = [(call, call.seen) for call in calls if call.seen is not None]
    starts = [(call.started, 1, number) for number, (call, _) in enumerate(answered)]
    ends = [(call.ended, 0, number) for number, (call, _) in enumerate(answered)]
    known = 0
    floor: dict[int, int] = {}
    for _, is_start, number in sorted(starts + ends):
        call, seen = answered[number]
        if is_start:
            floor[number] = known
        elif seen < floor[number] + (call.kind == "write"):
            yield f"tenant {tenant}: a {call.kind} is behind an earlier call"
        else:
            known = max(known, seen)
