"""What a state comes to, without anything personal: counts and the public digest."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import msgspec

from projections.state import State
from projections.tables.users import Status


class ItemCounts(msgspec.Struct, frozen=True):
    """How many items there are, and how many there were."""

    live: int
    deleted: int


class Summary(msgspec.Struct, frozen=True):
    """A state at a position: ``time`` is that of its last event, ``users`` counts by status.

    The digest is the public one, which anyone can recompute from the log alone.
    """

    position: int
    time: str | None
    users: dict[str, int]
    items: ItemCounts
    sessions: int
    digest: str


def summary_of(state: State) -> Summary:
    """The summary of a state, which must not change meanwhile."""
    statuses = Counter(user.status for user in state.users.by_id.values())
    return Summary(
        state.position,
        state.last.time or None,
        {status: statuses[status] for status in get_args(Status)},
        ItemCounts(len(state.items.by_id), len(state.items.deleted)),
        len(state.sessions.by_id),
        state.digest(),
    )
