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
from projections.tables.tombstones import Tombstone

MAX_INDEXED_EVENTS: Final = 1_000
"""A subject with more events is not rare: a page of them is found by reading the log.

Lines that are scattered are read one by one, which takes longer than to read some hundred in a row.
"""

_NUMBERED: Final = re.compile(r"([a-z][a-z0-9_]*)/([1-9][0-9]{0,18})", re.ASCII)


def positions_of(subject: str, state: State) -> Sequence[int] | None:
    """The ascending positions among which are all events of a subject.

    ``None`` if the index does not have all of them, or has too many. That is so for sessions, keys,
    webhooks and schemas; after an erasure, which ends the chains of the user; and for a deleted
    resource, whose owner may be erased.
    """
    match = _NUMBERED.fullmatch(subject)
    if match is None:
        return None
    last = _last_event(match[1], int(match[2]), state)
    if last is None:
        return None
    return state.resources.versions.complete(last, at_most=MAX_INDEXED_EVENTS)


def _last_event(collection: str, number: int, state: State) -> int | None:
    """The position of the last event, or 0; ``None`` if the index may lack some."""
    if collection == "users":
        user = state.users.by_id.get(number)
        is_erased = user is not None and user.status == "erased"
        return None if is_erased else state.activity.last.get(number, 0)
    table = state.resources.get(collection)
    found = None if table is None else table.find(number)
    if table is None or isinstance(found, Tombstone):
        return None
    return 0 if found is None else found.version


def within(positions: Sequence[int], after: int, upto: int) -> Sequence[int]:
    """Those of ascending positions that are after one position and up to another."""
    return positions[bisect_right(positions, after) : bisect_right(positions, upto)]


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
    there = within(positions, after, upto)
    if descending:
        there = there[::-1]
    for start in range(0, len(there), RECORDS_PER_READ):
        some = sorted(there[start : start + RECORDS_PER_READ])
        lines = zip(some, await history.lines(some), strict=True)
        run = [(at, line) for at, line in lines if wanted.matches(line)]
        yield run[::-1] if descending else run
        await asyncio.sleep(0)
