"""Select resources by the filters and the search of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from eventapi.http.request import ApiRequest
from eventapi.http.routes.listing_parsing import Listing
from eventapi.http.routes.search import matching
from events.vocabulary.resources import Entity

_PER_TURN: Final = 1_000
"""Resources that are filtered before other requests run."""

_PER_TURN_WITH_LISTS: Final = 50
"""The same for a filter of lists, each of which may have 20,000 values."""


async def selected(
    request: ApiRequest, listing: Listing, entities: Sequence[Entity]
) -> list[Entity]:
    """The resources that pass the filters and the search."""
    if listing.selection.filters:
        passes, found = listing.selection.matches(owner_names(request)), list[Entity]()
        size = _PER_TURN_WITH_LISTS if listing.selection.reads_lists else _PER_TURN
        for start in range(0, len(entities), size):
            found += filter(passes, entities[start : start + size])
            await asyncio.sleep(0)
        entities = found
    if listing.q is None:
        return list(entities)
    texts, names = request.caches.casefolded_texts, listing.shape.text_fields
    return await matching(entities, names, listing.q, len(entities), texts)


def owner_names(request: ApiRequest) -> Callable[[int], str]:
    """The function that returns the username of an owner."""
    users = request.reader.state.users.by_id

    def name(owner: int) -> str:
        user = users.get(owner)
        return "" if user is None else user.username

    return name
