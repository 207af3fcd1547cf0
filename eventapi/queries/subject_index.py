"""Find the lines of one subject without reading the log.

The version index of the state has, for each event of a resource and of an account, the position of
the event before it: 8 bytes an event of the log, which `history` and `as_of` need anyway.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import Final

from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.queries.subscriptions import EventFilter
from projections.state import State

MAX_INDEXED_EVENTS: Final = 10_000
"""A subject with more events is not rare: a page of them is found by reading the log."""

_NUMBERED: Final = re.compile(r"([a-z][a-z0-9_]*)/([1-9][0-9]{0,18})", re.ASCII)


def positions_of(subject: str, state: State) -> Sequence[int] | None:
    """The ascending positions among which are all events of a subject.

    ``None`` if the index does not have all of them, or has too many. That is so for sessions, keys,
    webhooks and schemas; after an erasure, which ends the chains of the user; and for a resource that
    was ever deleted, because shares that are taken back from a deleted one are not in its chain.
    """
    match = _NUMBERED.fullmatch(subject)
    if match is None:
        return None
    found = _positions(match[1], int(match[2]), state)
    return None if found is None or len(found) > MAX_INDEXED_EVENTS else found


def _positions(collection: str, number: int, state: State) -> Sequence[int] | None:
    if collection == "users":
        user = state.users.by_id.get(number)
        if user is None:
            return ()
        return None if user.status == "erased" else state.activity.of(number)
    table = state.resources.get(collection)
    if table is None:
        return None
    found = table.find(number)
    if found is None:
        return ()
    if number in table.deleted or number in table.ever_deleted(found.owner):
        return None
    return state.resources.versions.of(found.version)


async def indexed_lines(
    history: History,
    positions: Sequence[int],
    wanted: EventFilter,
    after: int,
    upto: int,
    *,
    descending: bool,
) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    """The lines at these positions that match, as `LogWatcher.lines` yields them."""
    there = positions[bisect_right(positions, after) : bisect_right(positions, upto)]
    if descending:
        there = there[::-1]
    for start in range(0, len(there), RECORDS_PER_READ):
        some = sorted(there[start : start + RECORDS_PER_READ])
        lines = zip(some, await history.lines(some), strict=True)
        run = [(at, line) for at, line in lines if wanted.matches(line)]
        yield run[::-1] if descending else run
        await asyncio.sleep(0)
