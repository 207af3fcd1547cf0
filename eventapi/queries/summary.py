"""A summary of a state without personal values: counts and the public digest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, get_args

import msgspec

from eventapi.queries.history import History
from projections.state import State
from projections.tables.users import Status

_PAST_SUMMARIES: Final = 64
"""Summaries of past states that a process remembers; they never change."""


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


class Summaries:
    """The summaries of the current state and of past ones, each made once.

    They are made in threads, so other requests go on; those of current states one at a time.
    """

    def __init__(self, history: History, state: Callable[[], Awaitable[State]]) -> None:
        """``state`` returns the current state, as `Journal.state` does."""
        self._history = history
        self._state = state
        self._making = asyncio.Lock()
        self._newest: Summary | None = None
        self._past: dict[int, Summary] = {}

    async def now(self, caller: int) -> Summary:
        """The summary of the current state, or of a later one, for a user.

        Raises `Overloaded`.
        """
        position = (await self._state()).position
        with self._history.admit(caller):
            async with self._making:
                if self._newest is None or self._newest.position < position:
                    state = (await self._state()).frozen()
                    self._newest = await asyncio.to_thread(summary_of, state)
                return self._newest

    async def at(self, position: int, caller: int) -> Summary:
        """The summary of the state at a position, for a user.

        Raises `Overloaded`, and the errors of `History.state_at`.
        """
        if position == (await self._state()).position:
            newest = await self.now(caller)
            if newest.position == position:
                return newest
        found = self._past.get(position)
        if found is None:
            async with self._history.state_at(position, caller) as then:
                found = await asyncio.to_thread(summary_of, then)
            self._past[position] = found
            if len(self._past) > _PAST_SUMMARIES:
                del self._past[next(iter(self._past))]
        return found
