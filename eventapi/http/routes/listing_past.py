"""Lists of resources as they were at a position of the log.

The values of a resource that changed since are on its own lines. Of these a list reads no more than
it compares: a sort by title needs the last title of each resource, one by `created_at` needs no line.
Only the resources of the page are then read in full.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Final

from msgspec import UNSET, UnsetType

from eventapi.http.lists.parsing import Listing
from eventapi.http.request import ApiRequest
from eventapi.http.routes.selecting import filter_entities, owner_names
from eventapi.queries.orders import sorted_entities
from eventapi.resources import access
from events.vocabulary.resources import Entity

_PER_READ: Final = 100
"""Resources whose lines are read in one turn."""

_MOST_PER_READ: Final = 1_000
"""The same for a list of which only the compared values are kept."""

_PER_TURN: Final = 1_000
"""Resources that are counted before other requests run."""


class PastList:
    """The list that a query selects at a position."""

    def __init__(self, request: ApiRequest, listing: Listing, position: int) -> None:
        self._request = request
        self._listing = listing
        self._position = position
        self._reader = request.reader
        self._history = request.services.history
        self._table = request.reader.state[listing.shape.resource.collection]
        self._has_read = False

    @cached_property
    def _numbers(self) -> Sequence[int]:
        """The numbers, ascending, of what the caller may read, live or deleted."""
        reader, resource = self._reader, self._listing.shape.resource
        return access.ever_readable_numbers(resource, reader.state, reader.user)

    async def page(self) -> tuple[list[Entity], int | UnsetType]:
        """The resources of a page and the next one; and how many there are on all pages.

        The resources have the compared values only; see `whole`.
        """
        listing, most = self._listing, self._listing.limit + 1
        if listing.selection.is_by_id and not (listing.count and listing.is_filtered):
            found: list[Entity] = []
            async with aclosing(self._compared()) as slices:
                async for entities in slices:
                    found += entities
                    if len(found) >= most:
                        break
            return found[:most], await self._count() if listing.count else UNSET
        found = await self._sorted()
        key = listing.selection.key(owner_names(self._request))
        start = 0 if listing.behind is None else bisect_right(found, listing.behind, key=key)
        return found[start : start + most], len(found) if listing.count else UNSET

    async def whole(self, page: Sequence[Entity]) -> list[Entity]:
        """The resources of a page with all values."""
        with self._history.admit(self._reader.number):
            return await self._read([one.id for one in page])

    async def slices(self) -> AsyncGenerator[list[Entity], None]:
        """The selected resources with all values; each slice waits for its own turn."""
        numbers = self._listing.behind_cursor(self._numbers)
        with self._history.admit(self._reader.number):
            for start in range(0, len(numbers), _PER_READ):
                found = await self._read(numbers[start : start + _PER_READ])
                yield await filter_entities(self._request, self._listing, found)

    async def _compared(self) -> AsyncGenerator[list[Entity], None]:
        """The selected resources behind the cursor, by number, with the compared values."""
        numbers = self._listing.behind_cursor(self._numbers)
        start, size = 0, _PER_READ
        with self._history.admit(self._reader.number):
            while start < len(numbers):
                yield await self._select(numbers[start : start + size])
                start, size = start + size, min(2 * size, _MOST_PER_READ)

    async def _sorted(self) -> list[Entity]:
        """All selected resources in the order of the list, with the compared values."""
        position, table, number = self._position, self._table, self._reader.number
        ones = [one for at in self._numbers if (one := table.find(at)) is not None]
        key = self._listing.selection.key(owner_names(self._request))
        found: list[Entity] = []
        with self._history.admit(number):
            async with self._history.turn(number):
                # In the order of their lines in the log, so that a read has many of them.
                ones = await sorted_entities(ones, lambda one: table.version_at(one, position))
            for start in range(0, len(ones), _MOST_PER_READ):
                some = [one.id for one in ones[start : start + _MOST_PER_READ]]
                found += await self._select(some)
            async with self._history.turn(number):
                return await sorted_entities(found, key)

    async def _select(self, numbers: Sequence[int]) -> list[Entity]:
        """Those of some resources that are selected, with the compared values only."""
        found = await self._read(numbers, self._listing.compared)
        return await filter_entities(self._request, self._listing, found)

    async def _read(
        self, numbers: Sequence[int], columns: Collection[str] | None = None
    ) -> list[Entity]:
        """Those of some resources that existed, read in a turn of the caller."""
        async with self._history.turn(self._reader.number):
            if self._has_read and self._reader.user:
                # An erasure since the last read destroyed the keys.
                await self._request.authenticate()
            self._has_read = True
            ones = [one for number in numbers if (one := self._table.find(number)) is not None]
            then = await self._history.entities_at(self._position, ones, self._table, columns)
            await asyncio.sleep(0)
            return [then[number] for number in numbers if number in then]

    async def _count(self) -> int:
        """How many resources that the caller may read existed; no line is read."""
        table, count, numbers = self._table, 0, self._numbers
        with self._history.admit(self._reader.number):
            for start in range(0, len(numbers), _PER_TURN):
                async with self._history.turn(self._reader.number):
                    found = map(table.find, numbers[start : start + _PER_TURN])
                    count += sum(
                        one is not None and table.version_at(one, self._position) > 0
                        for one in found
                    )
                    await asyncio.sleep(0)
        return count
