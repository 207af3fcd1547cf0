"""The vault of a simulated machine, by its contract.

SQLite makes its own system calls, out of the machine's sight, so what the port promises stands in
for it: what `put` or `destroy` did is durable when they return; who dies in them has done it or has
not. That the real vault keeps this promise is for others to prove, file by file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from events.errors import VaultUnavailable
from events.vault.memory import MemoryVault
from tests.fault_injection.simulation.machine import Machine


class VaultDownError(VaultUnavailable):
    """The vault could not be reached this once; what was asked of it has not happened."""


class SimulatedVault(MemoryVault):
    """Keys that outlive the power, and answers that are old by the time they are read."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    @property
    def subjects(self) -> set[str]:
        """Whose keys there are, for whoever judges and takes no time."""
        return set(self._keys)

    def _reach(self, call: str, risk: int = 1) -> None:
        self._machine.step(call, risk)
        if self._machine.fails(self._machine.faults.vault):
            self._machine.counts["vault failures"] += 1
            raise VaultDownError("the vault cannot be reached")

    async def _answer(self) -> None:
        self._machine.step("vault answers")
        random = self._machine.random
        await asyncio.sleep(random.uniform(0, 0.02) if random.random() < 0.1 else 0)

    async def put(self, keys: Mapping[str, bytes]) -> None:
        self._reach("vault put", risk=20)
        await super().put(keys)
        await self._answer()

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        self._reach("vault get")
        found = await super().get(subjects)
        await self._answer()
        return found

    async def all(self) -> dict[str, bytes]:
        self._reach("vault all")
        found = await super().all()
        await self._answer()
        return found

    async def destroy(self, subjects: Collection[str]) -> None:
        if subjects:
            self._reach("vault destroy", risk=50)
            await super().destroy(subjects)
            await self._answer()
