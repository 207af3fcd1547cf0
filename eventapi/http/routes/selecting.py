"""Select resources by the filters and the search of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from eventapi.http.lists.parsing import Listing
from eventapi.http.lists.search import matching
from eventapi.http.request import ApiRequest
from eventapi.queries.selection import OwnerName, Selection
from events.vocabulary.resources import Entity

_VALUES_PER_TURN: Final = 50_000
"""Values of lists that are searched before other requests run; one list may have 20,000."""


async def filter_entities(
    request: ApiRequest, listing: Listing, entities: Sequence[Entity]
) -> list[Entity]:
    """The resources that pass the filters and the search."""
    if listing.selection.filters:
        entities = await _filtered(listing.selection, entities, owner_names(request))
        await asyncio.sleep(0)
    if listing.q is None:
        return list(entities)
    texts, names = request.caches.casefolded_texts, listing.shape.text_fields
    return await matching(entities, names, listing.q, len(entities), texts)


async def _filtered(
    selection: Selection, entities: Sequence[Entity], owner_name: OwnerName
) -> Sequence[Entity]:
    """The resources that pass the filters."""
    passes, lists = selection.matches(owner_name), selection.list_columns
    if not lists:
        return [*filter(passes, entities)]
    found, size = list[Entity](), 0
    for entity in entities:
        if passes(entity):
            found.append(entity)
        size += sum(len(getattr(entity, name) or ()) for name in lists)
        if size > _VALUES_PER_TURN:
            size = 0
            await asyncio.sleep(0)
    return found


def owner_names(request: ApiRequest) -> Callable[[int], str]:
    """The function that returns the username of an owner."""
    users = request.reader.state.users.by_id

    def name(owner: int) -> str:
        user = users.get(owner)
        return "" if user is None else user.username

    return name
