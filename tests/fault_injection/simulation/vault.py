"""A simulated vault that keeps the contract of the port.

The simulation cannot intercept the system calls of SQLite, so this class replaces the vault: `put`
and `destroy` are durable when they return, and atomic if the process dies in them. The campaign
`tests.fault_injection.faults` shows that the real vault keeps this contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from events.errors import VaultUnavailable
from events.vault.memory import MemoryVault
from tests.fault_injection.simulation.machine import Machine


class VaultDownError(VaultUnavailable):
    """The vault is unavailable for this call, which has no effect."""


class SimulatedVault(MemoryVault):
    """Keys survive power cuts; answers may be delayed until they are outdated."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    @property
    def subjects(self) -> set[str]:
        """The subjects that have keys; for checks, without a step of the simulation."""
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
