"""Logs of an application with invoices, written by a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from itertools import count
from random import Random
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import Meta, structs

from eventapi.commands.command import Command
from eventapi.commands.resources import Act, Create, Delete, Restore, Update
from eventapi.commands.sharing import Share
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources import Clear, Resource, action
from eventapi.resources.registry import Registry
from eventapi.testing.given import at, profile
from events.codec import decode
from events.errors import Refusal
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import START, Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.read_models import ApplicationVocabulary, PublicEvent, ReadModel
from projections.state import State

_random = Random(7)  # Shared by all journals, because a nonce must never be used twice.


class Invoice(Resource):
    """What a customer owes."""

    shareable = True

    customer: Annotated[str, Meta(min_length=1)]
    cents: Clear[Annotated[int, Meta(ge=0)]]
    due: Clear[date | None] = None
    note: str = ""
    paid: Clear[bool] = False

    @action
    def pay(self, *, by: str = "") -> Invoice:
        """Mark the invoice as paid."""
        return structs.replace(self, paid=True, note=by)


REGISTRY: Final = Registry([Invoice])
INVOICE: Final = REGISTRY.by_collection["invoices"]
USERS: Final = ("ann", "bob", "eve")

Step = tuple[str, int, int]
"""What happens, a user from 1, and a number that means an invoice, a value and a user."""

steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("create", "create", "create", "update", "pay"),
                *("delete", "restore", "share", "item", "erase"),
            )
        ),
        st.integers(1, len(USERS)),
        st.integers(1, 5),
    ),
    max_size=14,
)


def command_of(step: Step) -> Command:
    """The command of a step; a rule may refuse it."""
    what, user, number = step
    values = structs.asdict(Invoice(customer=f"c{number}", cents=100 * number))
    commands: dict[str, Command] = {
        "create": Create(INVOICE, user, {**values, "due": date(2026, 1, number)}),
        "update": Update(INVOICE, user, number, {"cents": user, "customer": "another"}),
        "pay": Act(INVOICE, user, number, "pay", {"by": "card"}),
        "delete": Delete(INVOICE, user, number),
        "restore": Restore(INVOICE, user, number, number, {**values, "due": None}),
        "share": Share(INVOICE, user, number, USERS[number % 3], "read"),
        "item": Create(REGISTRY.item, user, {"title": f"t{number}", "description": None}),
        "erase": EraseUser(USERS[user - 1], "operator/root"),
    }
    return commands[what]


class Story(msgspec.Struct):
    """The lines of a log, its vault, and the keys before any erasure."""

    lines: list[bytes]
    vault: MemoryVault
    all_keys: dict[str, bytes]

    def log(self, upto: int | None = None) -> MemoryLog:
        """A log of the first lines."""
        lines = self.lines[:upto]
        if not lines:
            return MemoryLog()
        return MemoryLog(lines, Head(len(lines), bytes.fromhex(lines[-1][-66:-2].decode())))

    async def vault_without(self, *destroyed: str) -> MemoryVault:
        """A vault with the key of every user who ever was, but for these."""
        vault = MemoryVault()
        await vault.put({who: key for who, key in self.all_keys.items() if who not in destroyed})
        return vault


def runtime(first_day: int = 1) -> Runtime:
    """Time in steps of a day, and random bytes."""
    ticks = count(first_day)
    return Runtime(
        lambda: at(86_400 * next(ticks)),
        lambda: str(UUID(bytes=_random.randbytes(16))),
        _random.randbytes,
    )


async def write(happened: Sequence[Step], registry: Registry = REGISTRY) -> Story:
    """Write a log: the users are registered, then the steps, without refused ones."""
    log, vault = MemoryLog(), MemoryVault()
    journal = Journal(log, vault, registry.vocabulary, runtime())
    await journal.start()
    try:
        for name in USERS:
            await journal.execute(RegisterUser(profile(name)))
        keys = await vault.all()
        for step in happened:
            with suppress(Refusal):
                await journal.execute(command_of(step))
    finally:
        await journal.close()
    return Story([line async for run in log.read() for line in run], vault, keys)


def written(happened: Sequence[Step]) -> Story:
    """As `write`, outside a loop."""
    return asyncio.run(write(happened))


class Seen(msgspec.Struct):
    """Every event that a read model got, as JSON values."""

    events: list[Any] = []


class Everything:
    """A read model that remembers all that it sees; it can be made to fail."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.state = Seen()
        self.fails_at = fails_at

    def apply(self, event: PublicEvent) -> None:
        if event.position == self.fails_at:
            raise ValueError(f"no {event.type} today")
        self.state.events.append(msgspec.to_builtins(event))


def model(name: str = "everything", code: str = "1", fails_at: int | None = None) -> ReadModel:
    """A read model of `Everything`."""
    return ReadModel(name, lambda: Everything(fails_at), Seen, code)


def vocabulary(*models: ReadModel) -> ApplicationVocabulary:
    """The vocabulary of invoices with these read models."""
    return ApplicationVocabulary(REGISTRY.vocabulary.resources, models)


def events_of(state: State, name: str = "everything") -> list[Any]:
    """What a read model of a state has seen."""
    found: list[Any] = state.read_models[name].state.events
    return found


def records(story: Story, keyring: Keyring | None = None) -> list[Record]:
    """The records of a story, by default without any key."""
    return decode(story.lines, keyring or Keyring(), REGISTRY.vocabulary, START)
