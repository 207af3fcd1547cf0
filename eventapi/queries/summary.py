"""A summary of a state without personal values: counts and the public digest."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import msgspec

from projections.state import State
from projections.tables.users import Status


class Counts(msgspec.Struct, frozen=True):
    """The number of live and of deleted resources of one kind."""

    live: int
    deleted: int


class Summary(msgspec.Struct, frozen=True):
    """The counts of a state at a position, and its public digest; see `State.digest`.

    ``time`` is that of the last event. ``users`` counts by status, ``resources`` by collection.
    """

    position: int
    time: str | None
    users: dict[str, int]
    items: Counts
    resources: dict[str, Counts]
    sessions: int
    digest: str


def summary_of(state: State) -> Summary:
    """The summary of a state; it must not change during the call."""
    statuses = Counter(user.status for user in state.users.by_id.values())
    counts = {
        collection: Counts(len(table.by_id), len(table.deleted))
        for collection, table in state.resources.items()
    }
    return Summary(
        state.position,
        state.last.time or None,
        {status: statuses[status] for status in get_args(Status)},
        counts["items"],
        counts,
        len(state.sessions.by_id),
        state.digest(),
    )
