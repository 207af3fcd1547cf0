"""A simulated machine: processes, clock, disk and the faults that they meet.

All decisions come from one random generator, so a seed replays a run. A strand is a thread of
control. At every system call and every iteration of an event loop, the machine may switch to
another strand, kill the process, or lose power.
"""

from __future__ import annotations

import math
import sys
from asyncio import AbstractEventLoop, Task, events
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
from greenlet import getcurrent, greenlet

from tests.fault_injection.simulation.disk import Folder, Node

MAX_STEPS = 300_000
STEP_SECONDS = 20e-6
FOR_EVER = math.inf


class KilledError(BaseException):
    """The process was killed at this call."""


class StuckError(Exception):
    """The run does not terminate: a livelock or a deadlock."""


class Faults(msgspec.Struct, frozen=True):
    """The probability of each fault at a system call that can meet it."""

    switch: float = 0.2
    stop: float = 0.0
    kill: float = 0.0
    power: float = 0.0
    sync: float = 0.0
    full: float = 0.0
    short: float = 0.0
    slow: float = 0.0
    vault: float = 0.0


class Process:
    """A process: its strands, open files and event loop, which die together."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False
        self.descriptors: dict[int, Node] = {}
        self.loop: AbstractEventLoop | None = None
        self.on_death: Callable[[], None] = lambda: None
        self.tasks: list[Task[Any]] = []
        self.generators: list[AsyncGenerator[Any, Any]] = []


class Strand:
    """A thread of control; it does not continue before ``wake_at``."""

    def __init__(self, process: Process, control: greenlet, wake_at: float) -> None:
        self.process = process
        self.wake_at = wake_at
        self.greenlet = control


class Machine:
    """Runs strands until none is left, or until the power is cut."""

    def __init__(self, random: Random, faults: Faults) -> None:
        self.random = random
        self.faults = faults
        self.now = 0.0
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.root = Folder()
        self.trace: list[str] | None = None
        self.is_halted = False
        self.strands: list[Strand] = []
        self._notes: list[str] = []
        self._hub = getcurrent()
        self._current: Strand | None = None
        self._power_is_cut = False
        self._processes = 0
        self._last_descriptor = 2

    @property
    def fingerprint(self) -> str:
        """A hash over all calls in their order; equal runs have equal fingerprints."""
        return sha256(";".join(self._notes).encode()).hexdigest()[:16]

    @property
    def process(self) -> Process:
        """The running process."""
        if self._current is None:
            raise KilledError
        return self._current.process

    def new_process(self) -> Process:
        self._processes += 1
        return Process(self._processes)

    def new_descriptor(self, node: Node) -> int:
        """Numbers are never reused, so a dead process's descriptor belongs to no other."""
        self._last_descriptor += 1
        self.process.descriptors[self._last_descriptor] = node
        return self._last_descriptor

    def spawn(self, process: Process, run: Callable[[], None], delay: float = 0.0) -> Strand:
        strand = Strand(process, greenlet(run, self._hub), self.now + delay)
        self.strands.append(strand)
        return strand

    # From inside a strand

    def step(self, call: str, risk: int = 1) -> None:
        """A point at which a fault may happen, before the call takes effect.

        ``risk`` multiplies the probability of a kill or a power cut here.
        """
        strand = self._current
        if strand is None or strand.process.dead:
            raise KilledError
        self.steps += 1
        self.now += STEP_SECONDS
        self._note(strand.process.number, call)
        if self.steps > MAX_STEPS:
            raise StuckError(f"no end after {MAX_STEPS} steps")
        chance = self.random.random()
        faults = self.faults
        if faults.switch <= chance <= 1 - (faults.kill + faults.power) * risk:
            return
        if chance < faults.switch:
            if self.random.random() < faults.stop:
                self.counts["stops"] += 1
                strand.wake_at = self.now + self.random.uniform(0.1, 20)
            self.switch()
        elif chance > 1 - faults.kill * risk:
            self.counts["kills"] += 1
            self._note(strand.process.number, "killed")
            strand.process.dead = True
            raise KilledError
        elif chance > 1 - (faults.kill + faults.power) * risk:
            self._power_is_cut = True
            strand.process.dead = True
            raise KilledError

    def _note(self, process: int, call: str) -> None:
        self._notes.append(f"{process}{call}")
        if self.trace is not None:
            self.trace.append(f"{self.now:10.5f}  process {process}: {call}")

    def switch(self) -> None:
        """Run other strands until the scheduler resumes this one."""
        strand = self._current
        self._hub.switch()
        if strand is None or strand.process.dead:
            raise KilledError

    def sleep_until(self, time: float) -> None:
        if self._current is None or self._current.process.dead:
            raise KilledError
        self._current.wake_at = time
        self.switch()

    def fails(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def stall(self) -> None:
        """Delay the strand if the disk is slow."""
        if self.fails(self.faults.slow):
            self.counts["stalls"] += 1
            self.sleep_until(self.now + self.random.uniform(0, 0.005))

    # From outside

    def run(self) -> bool:
        """Run until no strand is left; return True if the power was cut before."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._note_generator)
        try:
            while self.strands and not self._power_is_cut and not self.is_halted:
                self._turn()
        finally:
            sys.set_asyncgen_hooks(*hooks)
        return self._power_is_cut

    def _note_generator(self, made: AsyncGenerator[Any, Any]) -> None:
        self.process.generators.append(made)

    def _turn(self) -> None:
        awake = [strand for strand in self.strands if strand.wake_at <= self.now]
        if not awake:
            self.now = min(strand.wake_at for strand in self.strands)
            if self.now == FOR_EVER:
                raise StuckError("deadlock: all strands wait")
            return
        strand = awake[0] if len(awake) == 1 else self.random.choice(awake)
        strand.wake_at = 0.0
        self._resume(strand)
        if strand.greenlet.dead:
            self.strands.remove(strand)
        if strand.process.dead:
            self.reap(strand.process)
            strand.process.on_death()

    def _resume(self, strand: Strand, error: BaseException | None = None) -> None:
        self._current = strand
        events._set_running_loop(strand.process.loop)
        try:
            if error is None:
                strand.greenlet.switch()
            else:
                strand.greenlet.throw(error)
        except KilledError:
            pass
        finally:
            events._set_running_loop(None)
            self._current = None

    def reap(self, process: Process) -> None:
        """Release all that a dead process held: strands, tasks, descriptors, locks."""
        process.dead = True
        for strand in [strand for strand in self.strands if strand.process is process]:
            if strand.greenlet:
                self._resume(strand, KilledError())
            self.strands.remove(strand)
        for task in process.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # intended
            # throw, because close would not reach generators that are being iterated.
            with suppress(BaseException):
                task.get_coro().throw(KilledError())
        for generator in process.generators:
            with suppress(BaseException):
                generator.aclose().send(None)
        for descriptor, node in process.descriptors.items():
            if node.locked_by == descriptor:
                node.locked_by = 0
        process.descriptors.clear()
        process.tasks.clear()
        process.generators.clear()

    def cut_power(self) -> None:
        """Kill every process and lose the page cache."""
        self.counts["power cuts"] += 1
        self._note(0, "power cut")
        self.kill_all()
        self.root.cut_power(self.random)
        self._power_is_cut = False

    def kill_all(self) -> None:
        """Kill every process."""
        for process in {strand.process.number: strand.process for strand in self.strands}.values():
            self.reap(process)
