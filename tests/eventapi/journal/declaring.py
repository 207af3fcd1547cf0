"""Processes over a log in memory, each with code that declares its own classes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from eventapi.commands.resources import Create
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources import Clear, Resource, action
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing.given import at, profile
from events.log.memory import MemoryLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from tests.eventapi.resources.declaring import resource_class

RANDOM = Random(11)  # Shared, because a nonce must never be used twice.


@action
def pay(self: Any) -> Any:
    """Pay the invoice."""
    return structs.replace(self, paid=True)


INVOICE = {"number": str, "cents": Clear[int], "paid": (Clear[bool], False)}
NEWER = {**INVOICE, "due": (str | None, None)}


def invoice(fields: Mapping[str, Any] = INVOICE, **members: Any) -> type[Resource]:
    """A class of the kind ``invoice``."""
    return resource_class("Invoice", fields, pay=pay, **members)


ORDER = resource_class("Order", {"text": str})


class Storage:
    """A log and a vault in memory, which outlive the processes that write them."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.vault = MemoryVault()
        self._ticks = count(1)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.log._lines]

    @property
    def types(self) -> list[str]:
        return [line["type"] for line in self.lines]

    @asynccontextmanager
    async def process(
        self, *classes: type[Resource], snapshots: Path | None = None
    ) -> AsyncIterator[Process]:
        """A process whose code declares these classes."""
        registry = Registry(classes)
        runtime = Runtime(
            lambda: at(next(self._ticks)),
            lambda: str(UUID(bytes=RANDOM.randbytes(16))),
            RANDOM.randbytes,
        )
        vocabulary = registry.vocabulary
        taken = Snapshots(snapshots, vocabulary) if snapshots else None
        journal = Journal(self.log, self.vault, vocabulary, runtime, snapshots=taken)
        try:
            await journal.start()
            yield Process(journal, registry)
        finally:
            await journal.close()

    async def fold(self, *classes: type[Resource]) -> State:
        """The state that code with these classes folds the log to."""
        return await replay(self.log, Keyring(), self.vault, Registry(classes).vocabulary)


class Process:
    """A journal with the registry of its code."""

    def __init__(self, journal: Journal, registry: Registry) -> None:
        self.journal = journal
        self.registry = registry

    def of(self, collection: str) -> Declared:
        return self.registry.by_collection[collection]

    def create(self, collection: str = "invoices", **values: Any) -> Create:
        """The command of user 1 that creates a resource."""
        given = values or ({"number": "A-1", "cents": 5} if collection == "invoices" else {})
        resource = self.of(collection)
        defaults = {
            field.name: field.default
            for field in resource.type.fields
            if field.default is not msgspec.UNSET
        }
        return Create(resource, 1, {**defaults, **given})

    async def register(self) -> None:
        await self.journal.execute(RegisterUser(profile("ann")))


async def started(storage: Storage, *classes: type[Resource]) -> None:
    """Write a user, and an invoice of each class in turn."""
    async with storage.process(*classes) as process:
        await process.register()
        await process.journal.execute(process.create())
