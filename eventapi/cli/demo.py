"""The data of ``eventapi serve --demo``: users, invoices and some days of history.

Everything is written through the journal, with a clock that runs through the last days. The
passwords are random, and only their hashes are kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from itertools import cycle, islice
from typing import Final

import msgspec

from eventapi.accounts.service import Operator, register
from eventapi.bootstrap.storage import SYSTEM, Overrides, open_journal, registry_of
from eventapi.commands.command import Command
from eventapi.commands.resources import Act, Create, Delete, Update
from eventapi.commands.users import EraseUser, GrantRole
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from eventapi.resources.declared import Declared
from eventapi.security.passwords import Passwords
from eventapi.values.times import seconds_of, time_of
from events.vocabulary.users import Profile

ACTOR: Final = "operator/demo"
ERASED: Final = "rolf"

_USERS: Final = {"ann": "Ann Archer", "eve": "Eve Auditor", "otto": "Otto Operator"}
_ROLES: Final = {"eve": "auditor", "otto": "operator"}
_CUSTOMERS: Final = (
    *("Blue Bicycles", "Café Central", "Harbour Books", "Lindgren & Sons", "Miller's Bakery"),
    *("North Pier Hotel", "Ólafsson Ltd", "Paper & Ink", "Riverside Clinic", "Sunny Side School"),
)
_NOTES: Final = ("Call the bank", "Order paper", "Plan the audit", "Plan the move")
_DAYS: Final = 4
_INVOICES: Final = 24
_PAUSES: Final = (4, 25, 7, 65, 11, 45, 90, 15)
"""Pauses between events, in relation to each other."""

PASSWORD_BYTES: Final = 9


async def make_demo(settings: Settings) -> Mapping[str, str]:
    """Write the history into the data directory; return the passwords by username."""
    end = seconds_of(SYSTEM.now())
    seconds = end - _DAYS * 86_400
    runtime = msgspec.structs.replace(SYSTEM, now=lambda: time_of(seconds), uptime=None)
    passwords = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in (*_USERS, ERASED)}
    collections = registry_of(settings).by_collection
    async with open_journal(settings, Overrides(runtime=runtime), begin=True) as (journal, _):
        await _register(journal, passwords)
        commands = [
            *(GrantRole(name, role, ACTOR) for name, role in _ROLES.items()),
            *_history(collections["items"], collections["invoices"], time_of(end)[:10]),
        ]
        pauses = list(islice(cycle(_PAUSES), len(commands)))
        for pause, command in zip(pauses, commands, strict=True):
            seconds += pause * (_DAYS * 86_400 - 60) / sum(pauses)
            await journal.execute(command)
    return {name: passwords[name] for name in _USERS}


def hints(settings: Settings, passwords: Mapping[str, str]) -> Sequence[str]:
    """What to print about a demonstration; an old one has no ``passwords``."""
    place = settings.data
    lines = [f"Sign in as {name} with {password}" for name, password in passwords.items()]
    if not passwords:
        lines = [
            f"The passwords were printed when {place} was made. Delete it to begin again, and then the "
            "console's light is red where it knew the old log, since this is another one."
        ]
    return [
        *lines,
        "eve is an auditor, otto an operator.",
        "Try this: as ann, delete an invoice, then pull Time travel back to yesterday.",
        f"Try this: as otto, erase ann; then `eventapi log verify --data {place}` still passes.",
    ]


async def _register(journal: Journal, passwords: Mapping[str, str]) -> None:
    with closing(Passwords()) as hasher:
        for name, password in passwords.items():
            profile = Profile(name, f"{name}@example.org", "", _USERS.get(name))
            await register(Operator(journal), hasher, profile, password, ACTOR)


def _history(items: Declared, invoices: Declared, today: str) -> Sequence[Command]:
    """What the users 1 to 4 did with items and invoices, which count from 1."""
    ann, eve, _, rolf = range(1, 5)
    secret = {"title": "This can never be read again", "description": None}
    return [
        Create(items, rolf, secret),
        *_invoices(invoices, ann, date.fromisoformat(today)),
        *(
            Create(items, owner, {"title": title, "description": None})
            for owner, title in zip((ann, eve, ann, ann), _NOTES, strict=True)
        ),
        Update(items, ann, 4, {"description": "By Friday."}),
        EraseUser(ERASED, ACTOR),
        Delete(items, ann, 2),
    ]


def _invoices(invoices: Declared, owner: int, today: date) -> Sequence[Command]:
    commands: list[Command] = []
    for number in range(1, _INVOICES + 1):
        values = {
            "number": f"A-{number:03}",
            "customer": _CUSTOMERS[number * 7 % len(_CUSTOMERS)],
            "cents": number * 7_919 % 90_000 + 1_500,
            "due": today + timedelta(days=number - 8),
            "paid": False,
        }
        commands.append(Create(invoices, owner, values))
        if number % 3 == 0:
            commands.append(Act(invoices, owner, number - 2, "pay", {}))
        if number % 5 == 0:
            commands.append(Update(invoices, owner, number, {"cents": number * 1_000}))
    return commands
