"""The rows of a list in its order, and the cached orders of frequent lists.

Sorting 100,000 rows takes a fifth of a second. It runs in slices, so that other requests run in
between, and its result is kept until one of the rows changes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar, overload

import msgspec

from eventapi.queries.validated_cache import ValidatedCache
from events.vocabulary.resources import Entity

_PER_TURN: Final = 2_000
"""Rows that are sorted or merged before other requests run."""

_SAMPLES: Final = 10
"""Rows of each run that decide where the parts of a merge begin."""

_CACHED_ROWS: Final = 2_000_000
"""Rows in all cached orders of a process, at 8 bytes each."""

_FIRST: Final = itemgetter(0)

T = TypeVar("T")

SortKey = Callable[[Entity], Any]


class OrderName(msgspec.Struct, frozen=True):
    """The rows of one ``owner`` in an order; with 0 those of all owners."""

    collection: str
    owner: int
    text: str


class Backwards(Sequence[int]):
    """Numbers in reverse order, without a copy."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, int):
            return self._numbers[-1 - at]
        size = len(self._numbers)
        start, end, _ = at.indices(size)
        return self._numbers[size - max(start, end) : size - start][::-1]


class Rows(Generic[T]):
    """The rows of a list in its order; ``find`` gets a row by its place's value."""

    def __init__(self, places: Sequence[T], find: Callable[[T], Entity]) -> None:
        self._places = places
        self._find = find

    def __len__(self) -> int:
        return len(self._places)

    def behind(self, cursor: Any, key: SortKey) -> int:
        """The index of the first row behind the sort key of a cursor."""
        return bisect_right(self._places, cursor, key=lambda place: key(self._find(place)))

    def part(self, start: int, end: int | None = None) -> list[Entity]:
        """The rows from one index to another."""
        return [*map(self._find, self._places[start:end])]


class Orders(ValidatedCache[OrderName, Sequence[int]]):
    """The numbers of the resources in each cached order."""

    def __init__(self, max_rows: int = _CACHED_ROWS) -> None:
        super().__init__(max_rows)


async def sorted_entities(entities: Sequence[T], key: Callable[[T], Any]) -> list[T]:
    """Resources sorted by a key; other requests run in between."""
    runs: list[list[tuple[Any, T]]] = []
    for start in range(0, len(entities), _PER_TURN):
        run = [(key(entity), entity) for entity in entities[start : start + _PER_TURN]]
        runs.append(sorted(run, key=_FIRST))
        await asyncio.sleep(0)
    # Merge the runs in about as many parts: samples of all runs tell where the parts begin.
    samples = sorted(row[0] for run in runs for row in run[:: _PER_TURN // _SAMPLES])
    starts = [0] * len(runs)
    found: list[T] = []
    for bound in [*samples[_SAMPLES::_SAMPLES], None]:
        part: list[tuple[Any, T]] = []
        for at, run in enumerate(runs):
            start = starts[at]
            end = len(run) if bound is None else bisect_left(run, bound, start, key=_FIRST)
            part += run[start:end]
            starts[at] = end
        found += [entity for _, entity in sorted(part, key=_FIRST)]
        await asyncio.sleep(0)
    while runs:  # To free all of them at once takes as long as a few turns.
        runs.pop()
        await asyncio.sleep(0)
    return found


async def numbers_of(entities: Sequence[Entity]) -> list[int]:
    """The numbers of resources; other requests run in between."""
    numbers: list[int] = []
    for start in range(0, len(entities), _PER_TURN):
        numbers += [entity.id for entity in entities[start : start + _PER_TURN]]
        await asyncio.sleep(0)
    return numbers
