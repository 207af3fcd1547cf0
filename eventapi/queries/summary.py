"""A summary of a state without personal values: counts and the public digest."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import msgspec

from projections.state import State
from projections.tables.users import Status


class ItemCounts(msgspec.Struct, frozen=True):
    """The number of live and of deleted items."""

    live: int
    deleted: int


class Summary(msgspec.Struct, frozen=True):
    """The counts of a state at a position, and its public digest; see `State.digest`.

    ``time`` is that of the last event, and ``users`` counts by status.
    """

    position: int
    time: str | None
    users: dict[str, int]
    items: ItemCounts
    sessions: int
    digest: str


def summary_of(state: State) -> Summary:
    """The summary of a state; it must not change during the call."""
    statuses = Counter(user.status for user in state.users.by_id.values())
    return Summary(
        state.position,
        state.last.time or None,
        {status: statuses[status] for status in get_args(Status)},
        ItemCounts(len(state.items.by_id), len(state.items.deleted)),
        len(state.sessions.by_id),
        state.digest(),
    )
