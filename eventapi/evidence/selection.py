"""The lines that a pack of evidence is about."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from typing import Final

import msgspec

from eventapi.queries.history import History
from eventapi.queries.subscriptions import LogWatcher, members_of
from events.errors import NotFound
from events.record import entity_number
from projections.state import State

_NUMBERED: Final = re.compile(r"([a-z][a-z0-9_]*)/([1-9][0-9]{0,18})", re.ASCII)
_DECLARED: Final = b'"schema.declared"'


class Selection(msgspec.Struct, frozen=True):
    """A subject such as ``items/7``, or a user by name or as ``users/1``.

    ``since`` and ``until`` are positions, or times in a record's form; both are included. With
    ``open`` the sealed values are opened whose keys exist.
    """

    subject: str | None = None
    user: str | None = None
    since: int | str | None = None
    until: int | str | None = None
    open: bool = False

    @property
    def name(self) -> str:
        """The subject or the user, as it was given."""
        return self.user or self.subject or ""


class Selected(msgspec.Struct, frozen=True):
    """The ascending positions of the selected lines.

    ``schemas`` has the positions of the declarations of each collection, selected or not. ``subject``
    is that of the selection, for example that of the user.
    """

    positions: Sequence[int]
    schemas: dict[str, list[int]]
    subject: str


async def select(selection: Selection, state: State, history: History, log: LogWatcher) -> Selected:
    """Find the lines of a selection; reads the whole log, which no line can escape.

    Those of a user are the ones that the user caused, and those about the user, the user's sessions,
    keys and resources. Those of a resource include the erasure that deleted it. Raises `NotFound` if
    there are none.
    """
    upto, of_user = state.position, selection.user is not None
    name = _subject(selection, state)
    own = msgspec.json.encode(name)
    wanted = {own, *(_resources_of(name, state) if of_user else ())}
    # Sessions, keys and erasures have other subjects.
    known = state.activity.of(entity_number(name)) if of_user else _last_of(name, state)
    found = array("Q")  # A set would take ten times the memory.
    schemas: dict[str, list[int]] = {}
    async for run in log.lines(0, upto):
        for position, line in run:
            kind, subject, actor = members_of(line)
            if subject in wanted or (of_user and actor == own):
                found.append(position)
            if kind == _DECLARED:
                collection = subject[1:-1].partition(b"/")[2].decode()
                schemas.setdefault(collection, []).append(position)
    first, last = await _bounds(selection, state, history)
    last = min(last, upto)  # The state may have moved on.
    positions = array("Q", (one for one in merged(known, found) if first <= one <= last))
    if not positions:
        where = "" if selection.since is selection.until is None else " in this part of the log"
        raise NotFound(f"there is no event of {selection.name!r}{where}")
    return Selected(positions, schemas, name)


def merged(*ascending: Iterable[int]) -> Iterator[int]:
    """The ascending numbers of several sequences, each number once."""
    return (number for number, _ in groupby(merge(*ascending)))


def _subject(selection: Selection, state: State) -> str:
    """The subject to search for; raises `NotFound` for an unknown user."""
    if selection.user is None:
        return selection.subject or ""
    user = state.users.find_by_username(selection.user)
    match = _NUMBERED.fullmatch(selection.user)
    if user is None and match is not None and match[1] == "users":
        user = state.users.by_id.get(int(match[2]))  # The only name of an erased user.
    if user is None:
        raise NotFound(f"there is no user {selection.user!r}")
    return user.subject


def _resources_of(user: str, state: State) -> Iterator[bytes]:
    """The subjects, in JSON, of all resources that a user owns or owned."""
    owner = entity_number(user)
    for collection in state.resources:
        table = state.resources[collection]
        deleted = (one.id for one in table.deleted.values() if one.owner == owner)
        for number in (*table.by_owner[owner], *deleted):
            yield b'"%s/%d"' % (collection.encode(), number)


def _last_of(subject: str, state: State) -> Sequence[int]:
    """The position of a resource's last event, which may be an erasure."""
    match = _NUMBERED.fullmatch(subject)
    table = None if match is None else state.resources.get(match[1])
    resource = None if table is None or match is None else table.find(int(match[2]))
    return () if resource is None else (resource.version,)


async def _bounds(selection: Selection, state: State, history: History) -> tuple[int, int]:
    """The first and the last position of the selected part of the log."""
    since, until = selection.since, selection.until
    first = 1 if since is None else await history.position_before(since, state) + 1
    if isinstance(until, str):
        until = await history.position(until, state)
    return first, state.position if until is None else until
