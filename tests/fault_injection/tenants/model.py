"""A model of one log per tenant over several machines, with moves between them.

Each tenant has one log, and the directory names the machine that serves it, with a generation that
grows with each change. Routers remember the directory and may be late. The rules of a move, and of
what a machine does after a crash, are in docs/decisions/tenants.md.

Every activity is a generator that yields the seconds until its next step, so one seed decides all.
"""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Literal

import msgspec

Steps = Generator[float, None, None]
"""An activity: it yields seconds."""

MESSAGE_SECONDS = 0.001
SYNC_SECONDS = 0.002
DIRECTORY_SECONDS = 0.005
OPEN_SECONDS = 0.03
RESTART_SECONDS = 0.5
ANSWER_SECONDS = 0.2
"""How long a router waits for an answer."""

COPY_SECONDS = 0.1
"""One round of copying while the source serves."""

PATIENCE_SECONDS = 1.0
"""After so long, a source that was frozen takes its tenant back."""


Answer = int | Literal["not here"] | None
"""A position, or a refusal that did nothing; ``None`` if the answer got lost."""


class Log(msgspec.Struct):
    """The log of a tenant on the disk of one machine: the idempotency keys of its events.

    ``generation`` is that of the directory for which it may be served. ``frozen`` is durable.
    ``is_open``, and the ``pending`` key of a write that is being synced, end with the process.
    """

    generation: int
    keys: list[int]
    frozen: bool = False
    is_open: bool = False
    pending: int | None = None


class Place(msgspec.Struct, frozen=True):
    """An entry of the directory."""

    machine: int
    generation: int


class Machine(msgspec.Struct):
    """A machine with its logs by tenant; ``life`` counts its starts."""

    number: int
    logs: dict[int, Log] = {}
    up: bool = True
    life: int = 0


class Call(msgspec.Struct):
    """A request of a client: what it did and what the client learnt.

    ``keys`` are those of its attempts, which should be one. ``seen`` is the position of the write,
    or the position of the log at the read; ``None`` without an answer.
    """

    tenant: int
    kind: Literal["write", "read"]
    keys: list[int]
    started: float
    ended: float = float("inf")
    seen: int | None = None


class Bugs(msgspec.Struct, frozen=True):
    """Rules that a run breaks on purpose, to show that the checks find it."""

    reads_while_frozen: bool = False
    tail_before_freeze: bool = False
    thaw_without_directory: bool = False
    open_without_directory: bool = False
    retry_with_new_key: bool = False


class World:
    """The machines, the directory and the clock of one run."""

    def __init__(self, seed: int, machines: int, tenants: int, bugs: Bugs) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.bugs = bugs
        self.machines = [Machine(number) for number in range(machines)]
        self.directory: dict[int, Place] = {}
        self.calls: list[Call] = []
        self.gaps: list[float] = []
        """For each completed move, the seconds in which no machine served the tenant."""

        self.taken_back = 0
        self._steps: list[tuple[float, int, Steps]] = []
        self._order = count()
        for tenant in range(tenants):
            home = self.rng.randrange(machines)
            self.directory[tenant] = Place(home, 1)
            self.machines[home].logs[tenant] = Log(1, [], is_open=True)

    def start(self, steps: Steps) -> None:
        """Begin an activity."""
        heappush(self._steps, (self.now, next(self._order), steps))

    def run(self, until: float) -> None:
        """Run all activities up to a time."""
        while self._steps and self._steps[0][0] <= until:
            self.now, _, steps = heappop(self._steps)
            try:
                seconds = next(steps)
            except StopIteration:
                continue
            # Half to one and a half times as long, and now and then ten times.
            seconds *= (0.5 + self.rng.random()) * (10 if self.rng.random() < 0.02 else 1)
            heappush(self._steps, (self.now + seconds, next(self._order), steps))

    # The directory: each call is atomic, as a row of a database is

    def replace(self, tenant: int, before: Place, after: Place) -> bool:
        """Change an entry if it still is ``before``."""
        if self.directory[tenant] != before:
            return False
        self.directory[tenant] = after
        return True

    # A machine

    def serve(self, machine: Machine, call: Call) -> Generator[float, None, Answer]:
        """Handle a request."""
        life = machine.life
        if not machine.up:
            return None
        log = machine.logs.get(call.tenant)
        if log is None or (log.frozen and not self._may_read(call)):
            return "not here"
        if not log.is_open:
            place = self.directory[call.tenant]
            yield DIRECTORY_SECONDS
            if machine.life != life or machine.logs.get(call.tenant) is not log:
                return None
            may_open = place == Place(machine.number, log.generation)
            if not (may_open or self.bugs.open_without_directory) or log.frozen:
                return "not here"
            log.is_open = True
        if call.kind == "read":
            return len(log.keys)
        return (yield from self._append(machine, log, call.keys[-1]))

    def _may_read(self, call: Call) -> bool:
        return self.bugs.reads_while_frozen and call.kind == "read"

    def _append(self, machine: Machine, log: Log, key: int) -> Generator[float, None, Answer]:
        life = machine.life
        while log.pending is not None:
            yield SYNC_SECONDS
            if machine.life != life:
                return None
        if log.frozen or not log.is_open:
            return "not here"
        if key not in log.keys:
            log.pending = key
            yield SYNC_SECONDS
            if machine.life != life:
                return None
            log.keys.append(key)
            log.pending = None
        return log.keys.index(key) + 1

    def crash(self, machine: Machine) -> Steps:
        """Kill a machine and start it again; its disk stays."""
        machine.up = False
        machine.life += 1
        for log in machine.logs.values():
            if log.pending is not None and self.rng.random() < 0.5:
                log.keys.append(log.pending)  # It is durable, and its client got no answer.
            log.pending, log.is_open = None, False
        yield RESTART_SECONDS
        machine.up = True
        for tenant, log in machine.logs.items():
            if log.frozen:
                self.start(self.take_back(machine, tenant, 0.0))

    def take_back(self, machine: Machine, tenant: int, seconds: float) -> Steps:
        """Serve a frozen log again, unless the move was completed; after some seconds."""
        log = machine.logs[tenant]
        before = Place(machine.number, log.generation)
        life = machine.life
        yield seconds
        yield DIRECTORY_SECONDS
        if machine.life != life or machine.logs.get(tenant) is not log or not log.frozen:
            return
        after = Place(machine.number, log.generation + 1)
        if self.bugs.thaw_without_directory or self.replace(tenant, before, after):
            self.taken_back += 1
            log.generation, log.frozen, log.is_open = after.generation, False, True
        elif self.directory[tenant].machine != machine.number:
            del machine.logs[tenant]

    # A move

    def move(self, tenant: int, target: Machine) -> Steps:
        """Move a tenant. The mover itself may die between any two steps."""
        before = self.directory[tenant]
        source = self.machines[before.machine]
        log = source.logs.get(tenant)
        if source is target or log is None or not self._serves(source, log, before):
            return
        tail_from = len(log.keys)
        yield COPY_SECONDS
        while log.pending is not None:
            yield SYNC_SECONDS
        if self._dies() or not self._serves(source, log, before):
            return
        log.frozen = True
        self.start(self.take_back(source, tenant, PATIENCE_SECONDS))
        copied = log.keys[:tail_from] if self.bugs.tail_before_freeze else [*log.keys]
        yield from self._hand_over(tenant, copied, before, target)

    def _hand_over(self, tenant: int, copied: list[int], before: Place, target: Machine) -> Steps:
        """Give a frozen log to the target, and remove it at the source."""
        frozen_at = self.now
        source = self.machines[before.machine]
        after = Place(target.number, before.generation + 1)
        yield SYNC_SECONDS + 2 * MESSAGE_SECONDS
        if self._dies() or not (source.up and target.up):
            return
        target.logs[tenant] = Log(after.generation, copied)
        yield OPEN_SECONDS + DIRECTORY_SECONDS
        if self._dies() or not self.replace(tenant, before, after):
            return
        self.gaps.append(self.now - frozen_at)
        yield 10 * MESSAGE_SECONDS
        if self._dies() or not source.up:
            return
        left = source.logs.get(tenant)
        if left is not None and left.generation == before.generation:
            del source.logs[tenant]

    def _serves(self, source: Machine, log: Log, place: Place) -> bool:
        return source.up and not log.frozen and log.generation == place.generation

    def _dies(self) -> bool:
        return self.rng.random() < 0.1

    # A client behind a router

    def client(self, tenant: int, calls: int) -> Steps:
        """Read and write a tenant through a router with a memory of its own."""
        known = self.directory[tenant].machine
        for _ in range(calls):
            # A client that pauses remembers a machine from some moves ago.
            yield self.rng.random() * (3 if self.rng.random() < 0.1 else 0.05)
            kind: Literal["write", "read"] = "write" if self.rng.random() < 0.5 else "read"
            call = Call(tenant, kind, [next(self._order)], self.now)
            self.calls.append(call)
            for _ in range(20):
                yield MESSAGE_SECONDS
                answer = yield from self.serve(self.machines[known], call)
                yield MESSAGE_SECONDS
                if isinstance(answer, int):
                    call.ended, call.seen = self.now, answer
                    break
                if answer is None:
                    yield ANSWER_SECONDS
                    if self.bugs.retry_with_new_key:
                        call.keys.append(next(self._order))
                # A wrong machine did nothing, and an unanswered write has a key: repeat it.
                yield DIRECTORY_SECONDS
                known = self.directory[tenant].machine
