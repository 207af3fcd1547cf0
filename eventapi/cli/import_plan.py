"""Plan an import: choose unique names and addresses, and build the commands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from eventapi.cli.db_json import Contents, Fault, OldUser
from eventapi.cli.db_json_reader import KEPT_NAME_CHARACTERS
from eventapi.commands.command import Command
from eventapi.commands.resources import Import
from eventapi.commands.users import DisableUser, RegisterUser
from eventapi.resources.declared import Declared
from events.vocabulary.users import Profile
from projections.state import State
from projections.tables.users import casefold_key

_AFTER_ALL_TIMES: Final = "~"
"""Sorts after every time."""


class Renamed(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """A user who gets a new name for the login."""

    place: str
    old: str
    new: str


class Plan(msgspec.Struct, frozen=True):
    """The commands of an import, and the faults that must be accepted first.

    ``faults`` include those of the file. ``is_repeated`` is true if every user of the file is in
    the log already.
    """

    commands: Sequence[Command]
    faults: Sequence[Fault]
    renamed: Sequence[Renamed]
    is_repeated: bool


def plan(contents: Contents, state: State, item: Declared, actor: str) -> Plan:
    """Plan the import of a file into a state; the plan is deterministic.

    ``item`` is the kind of the items.
    """
    faults = list(contents.faults)
    users = sorted(contents.users, key=lambda user: user.created_at or _AFTER_ALL_TIMES)
    names = _unique_names(users, state, faults)
    emails = _unique_emails(users, state, faults)
    renamed = [
        Renamed(f"{user.place}.username", _printable_key(user), names[user.key])
        for user in contents.users
        if names[user.key] != user.key
    ]
    commands = [
        *_user_commands(contents, names, emails, actor),
        *_item_commands(contents, names, item, actor),
    ]
    is_repeated = bool(users) and all(_is_in_log(state, user) for user in users)
    return Plan(commands, faults, renamed, is_repeated)


def _is_in_log(state: State, user: OldUser) -> bool:
    found = state.users.find_by_username(user.name)
    return found is not None and user.created_at in {None, found.created_at}


def _printable_key(user: OldUser) -> str:
    """The key with lone surrogates escaped, because UTF-8 cannot encode them."""
    return user.key.encode(errors="backslashreplace").decode()


def _unique_names(users: Iterable[OldUser], state: State, faults: list[Fault]) -> Mapping[str, str]:
    """A unique username for each key; the first user with a name keeps it.

    Letter case makes no difference.
    """
    reserved = {casefold_key(user.name) for user in users}
    holders: dict[str, str] = {}
    numbers: defaultdict[str, int] = defaultdict(lambda: 2)
    names = {}
    for user in users:
        name, key = user.name, casefold_key(user.name)
        is_taken = state.users.find_by_username(name) is not None
        if is_taken or key in holders:
            while is_taken or key in holders or key in reserved:
                name = f"{user.name[:KEPT_NAME_CHARACTERS]}-{numbers[casefold_key(user.name)]}"
                numbers[casefold_key(user.name)] += 1
                is_taken, key = state.users.find_by_username(name) is not None, casefold_key(name)
            holder = holders.get(casefold_key(user.name))
            faults.append(
                Fault(f"{user.place}.username", _holder_detail(holder), f"becomes {name!r}")
            )
        holders[key] = user.place
        names[user.key] = name
    return names


def _unique_emails(
    users: Iterable[OldUser], state: State, faults: list[Fault]
) -> Mapping[str, str]:
    """An email address for each key; of users that share one, the first user keeps it."""
    holders: dict[str, str] = {}
    emails = {}
    for user in users:
        email, key = user.email, casefold_key(user.email)
        if email and (key in holders or state.users.find_by_email(email) is not None):
            remedy = "is left empty; the account has no address"
            faults.append(Fault(f"{user.place}.email", _holder_detail(holders.get(key)), remedy))
            email = ""
        holders.setdefault(key, user.place)
        emails[user.key] = email
    return emails


def _holder_detail(place: str | None) -> str:
    if place is None:
        return "is already used by an account in the log"
    return f"is the same as that of {place}; letter case is ignored"


def _user_commands(
    contents: Contents, names: Mapping[str, str], emails: Mapping[str, str], actor: str
) -> Iterable[Command]:
    for user in contents.users:
        name = names[user.key]
        profile = Profile(name, emails[user.key], user.password_hash, user.full_name)
        yield RegisterUser(profile, actor, user.created_at, imported=True)
        if user.disabled:
            yield DisableUser(name, actor)


def _item_commands(
    contents: Contents, names: Mapping[str, str], kind: Declared, actor: str
) -> Iterable[Command]:
    """Commands for the items by number; the oldest item with a number keeps it."""
    highest = max((item.id or 0 for item in contents.items), default=0)
    ordered = sorted(
        contents.items,
        key=lambda item: (item.id or highest + 1, item.created_at or _AFTER_ALL_TIMES),
    )
    for item in ordered:
        yield Import(
            kind,
            names[item.owner],
            {"title": item.title, "description": item.description},
            item.created_at,
            item.id,
            highest,
            actor,
        )
