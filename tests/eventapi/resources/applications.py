"""An application with invoices and projections, and its journal, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import msgspec

from eventapi.commands.resources import Act, Create
from eventapi.commands.users import RegisterUser
from eventapi.journal.journal import Journal
from eventapi.resources import Caller, Projection, PublicEvent
from eventapi.resources.registry import Registry
from eventapi.testing.given import profile
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from projections.snapshots import Snapshots
from tests.projections.invoices import Invoice, runtime

ANN = Caller(1, "ann", frozenset())


class Totals(msgspec.Struct):
    """The state of `Revenue`: cents of each invoice, and paid in each month."""

    cents: dict[str, int] = {}
    paid: dict[str, int] = {}


class Revenue(Projection):
    """The sum of the paid invoices, by month."""

    state = Totals()

    def apply(self, event: PublicEvent) -> None:
        cents, paid = self.state.cents, self.state.paid
        if "cents" in event.clear:
            cents[event.subject] = event.clear["cents"]
        if event.type == "invoice.pay":
            month = event.time[:7]
            paid[month] = paid.get(month, 0) + cents[event.subject]

    def query(self, caller: Caller, *, month: str) -> int:
        return self.state.paid.get(month, 0)


class Positions(msgspec.Struct):
    """The state of `Broken`."""

    last: int = 0


class Broken(Projection):
    """Fails at the first payment."""

    state = Positions()

    def apply(self, event: PublicEvent) -> None:
        if event.type == "invoice.pay":
            raise ZeroDivisionError("the fault of an application")
        self.state.last = event.position

    def query(self, caller: Caller) -> int:
        return self.state.last


@asynccontextmanager
async def running(
    registry: Registry,
    log: MemoryLog | None = None,
    vault: MemoryVault | None = None,
    snapshots: Snapshots | None = None,
) -> AsyncIterator[Journal]:
    """A started journal of an application."""
    journal = Journal(
        log or MemoryLog(),
        vault or MemoryVault(),
        registry.vocabulary,
        runtime(),
        snapshots=snapshots,
    )
    await journal.start()
    try:
        yield journal
    finally:
        await journal.close()


async def pay_some(registry: Registry, journal: Journal) -> None:
    """Register ann, and create and pay two of three invoices."""
    invoices = registry.by_collection["invoices"]
    await journal.execute(RegisterUser(profile("ann")))
    for cents in (100, 250, 9_000):
        await journal.execute(create(registry, cents))
    for number in (1, 2):
        await journal.execute(Act(invoices, 1, number, "pay", {"by": "card"}))


def create(registry: Registry, cents: int) -> Create:
    """The command that creates an invoice of ann's."""
    values = msgspec.structs.asdict(Invoice(customer="c", cents=cents, due=date(2026, 1, 1)))
    return Create(registry.by_collection["invoices"], 1, values)


def invoices_with(*projections: type[Projection]) -> Registry:
    """The registry of `Invoice` with these projections."""
    return Registry([Invoice, *projections])


async def answer(registry: Registry, journal: Journal, name: str, **texts: str) -> Any:
    """What the route of a projection answers."""
    declared = registry.projections[name]
    state = await journal.state()
    return declared.answer(state.read_models, ANN, declared.parse(texts))
