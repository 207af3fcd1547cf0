"""Lists of resources, current or past: pages, or a stream of all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET, Raw, UnsetType

from eventapi.http.lists.pages import Page, PageKey
from eventapi.http.lists.parsing import Listing
from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Response, encode
from eventapi.http.routes.allowed import allowed_in
from eventapi.http.routes.listing_past import PastList
from eventapi.http.routes.selecting import filter_entities, owner_names
from eventapi.http.schemas.resources import Shape
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.orders import Backwards, OrderName, Rows, numbers_of, sorted_entities
from eventapi.resources import access
from events.vocabulary.resources import Entity

_PER_PIECE = 500
"""Resources that are encoded at once in a list without pages."""

_PER_TURN = 1_000
"""Resources that are filtered before other requests run."""


async def list_resources(request: ApiRequest, shape: Shape) -> Response[Any]:
    """The resources that the caller may read and that a query selects."""
    listing = request.caches.parse_listing(shape, request.scope["query_string"])
    page = await _cached_page(request, listing)
    if isinstance(page, Response):
        return page
    headers = [JSON, allowed_in(request, shape.resource)]
    following = None
    if page.cursor is not None:
        following = _following(request, listing, page.cursor)
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    rows = page.rows
    content = shape.page(rows, following, page.count) if shape.version.has_pages else rows
    return Response(200, headers, encode(content))


async def _cached_page(request: ApiRequest, listing: Listing) -> Page | StreamingResponse:
    """The page of a list, from the cache if nothing on it has changed.

    A page depends on the query and on the rows of one owner, or of all, and the validator is the
    position of the last event of these. That is read before the rows, so a page whose rows change
    while it is made is never found. Pages of the past are not cached, because their rows are chosen
    only after a wait: by then, those of another owner may be shared with the caller.
    """
    reader, shape = request.reader, listing.shape
    owner = access.owner_of_all(shape.resource, reader.state, reader.user)
    if owner is None or listing.as_of is not None:
        return await _read_page(request, listing)
    table = reader.state[shape.resource.collection]
    key, pages = PageKey(shape, owner, request.scope["query_string"]), request.caches.pages
    validator = table.validator(owner)
    found = pages.find(key, validator)
    if found is not None:
        return found
    page = await _read_page(request, listing)
    if isinstance(page, Page):
        pages.keep(key, validator, page)
    return page


async def _read_page(request: ApiRequest, listing: Listing) -> Page | StreamingResponse:
    """The page of a list, not from the cache.

    A list of version 1 without a limit is one page; a long one is streamed.
    """
    past = await _past(request, listing)
    if listing.is_whole:
        return await _all(request, listing, past)
    found, count = await (_current_page(request, listing) if past is None else past.page())
    page, more = found[: listing.limit], len(found) > listing.limit
    cursor = listing.selection.cursor(page[-1], owner_names(request)) if more else None
    if past is not None:
        page = await past.whole(page)
    return Page(await _rows(request, listing, page), cursor, count)


async def _current_page(
    request: ApiRequest, listing: Listing
) -> tuple[list[Entity], int | UnsetType]:
    """The resources of a page and the next one; and how many there are on all pages."""
    most = listing.limit + 1
    rows = await _current_rows(request, listing)
    key = listing.selection.key(owner_names(request))
    start = 0 if listing.behind is None else rows.behind(listing.behind, key)
    if not listing.is_filtered:
        return rows.part(start, start + most), len(rows) if listing.count else UNSET
    slices = _filtered_slices(request, listing, rows.part(0 if listing.count else start))
    found: list[Entity] = []
    async with aclosing(slices):
        async for entities in slices:
            found += entities
            if not listing.count and len(found) >= most:
                break
    if not listing.count:
        return found[:most], UNSET
    start = 0 if listing.behind is None else bisect_right(found, listing.behind, key=key)
    return found[start : start + most], len(found)


async def _all(
    request: ApiRequest, listing: Listing, past: PastList | None
) -> Page | StreamingResponse:
    """Everything that a query of version 1 selects; a long list is streamed."""
    slices = _slices(request, listing) if past is None else past.slices()
    found: list[Entity] = []
    async for entities in slices:
        found += entities
        if len(found) > _PER_PIECE:
            break
    else:
        return Page(await _rows(request, listing, found))

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with aclosing(slices):
            yield bytes(await _rows(request, listing, found))[:-1]
            async for entities in slices:
                # Authenticate again: the client may be slow, and its session may have ended.
                await request.authenticate()
                if entities:
                    yield b"," + bytes(await _rows(request, listing, entities))[1:-1]
        yield b"]"

    if request.method == "HEAD":
        await slices.aclose()
    return StreamingResponse([JSON, allowed_in(request, listing.shape.resource)], pieces())


async def _past(request: ApiRequest, listing: Listing) -> PastList | None:
    """The list at the moment that the client asks for; ``None`` for the present."""
    if listing.as_of is None:
        return None
    position = await request.resolve_as_of(request.reader.state, listing.as_of)
    return PastList(request, listing, position)


def _slices(request: ApiRequest, listing: Listing) -> AsyncGenerator[list[Entity], None]:
    """The selected current resources in slices, in the order of their numbers."""
    reader, resource = request.reader, listing.shape.resource
    by_id = reader.state[resource.collection].by_id
    numbers = access.readable_numbers(resource, reader.state, reader.user)
    entities = [by_id[number] for number in listing.behind_cursor(numbers)]
    return _filtered_slices(request, listing, entities)


async def _current_rows(request: ApiRequest, listing: Listing) -> Rows[Any]:
    """All resources that the caller may read, in the list's order."""
    reader, resource, selection = request.reader, listing.shape.resource, listing.selection
    table = reader.state[resource.collection]
    numbers = access.readable_numbers(resource, reader.state, reader.user)
    if selection.is_by_id:
        numbers = Backwards(numbers) if selection.descending else numbers
        return Rows(numbers, table.by_id.__getitem__)
    # Of a list with shared resources no order is kept, because shares change it as well.
    owner = access.owner_of_all(resource, reader.state, reader.user)
    name = OrderName(resource.collection, owner or 0, selection.text)
    validator, orders = table.validator(name.owner), request.services.orders
    known = None if owner is None else orders.find(name, validator)
    if known is not None:
        return Rows(known, table.by_id.__getitem__)
    # Copied from one state, which changes while they are sorted.
    entities = [table.by_id[number] for number in numbers]
    async with request.services.history.turn_of(reader.number):
        entities = await sorted_entities(entities, selection.key(owner_names(request)))
        if owner is not None:
            numbers = await numbers_of(entities)
            orders.add(name, validator, numbers, len(numbers))
    return Rows(entities, _itself)


def _itself(entity: Entity) -> Entity:
    return entity


async def _filtered_slices(
    request: ApiRequest, listing: Listing, entities: Sequence[Entity]
) -> AsyncGenerator[list[Entity], None]:
    """Those of some current resources that the filters and the search let pass."""
    if not listing.is_filtered:
        for start in range(0, len(entities), _PER_PIECE):
            yield list(entities[start : start + _PER_PIECE])
        return
    reader, history = request.reader, request.services.history
    with history.admit(reader.number):
        for start in range(0, len(entities), _PER_TURN):
            async with history.turn(reader.number):
                found = await filter_entities(request, listing, entities[start : start + _PER_TURN])
            yield found


async def _rows(request: ApiRequest, listing: Listing, page: Sequence[Entity]) -> Raw:
    """The JSON array of some resources; other requests run while many are encoded."""
    shape, fields, encoded = listing.shape, listing.fields, request.caches.encoded
    # Looked up before others run, which may erase an owner.
    name_of = owner_names(request)
    names = {owner: name_of(owner) for owner in {one.owner for one in page}}
    if fields is None:
        return Raw(encode(await encoded.of(shape, page, names.__getitem__)))
    rows = (Raw(encode(shape.members_of(one, names[one.owner], fields))) for one in page)
    return Raw(encode(await encoded.in_turns(rows)))


def _following(request: ApiRequest, listing: Listing, cursor: str) -> str:
    """The URL of the next page."""
    texts = {name: values[-1] for name, values in listing.texts.items()}
    head = {"limit": str(listing.limit), "after": cursor}
    if "sort" not in texts:
        head["order"] = "asc"
    texts = {name: text for name, text in texts.items() if name not in {"limit", "after"}}
    tail = {name: texts.pop(name) for name in ("q", "as_of") if name in texts}
    place = f"/{listing.shape.resource.collection}?{urlencode(head | texts | tail)}"
    return request.url_of(place)
