"""Lists of resources, current or past: pages, or a stream of all of them."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.http.decoding import Texts, from_texts, query_texts
from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Response, encode
from eventapi.http.routes.search import matching
from eventapi.http.schemas.requests import ListQuery, ListQueryV1
from eventapi.http.schemas.resources import Shape
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.orders import Backwards, OrderName, Rows, numbers_of, sorted_entities
from eventapi.queries.selection import CONTROLS, Selection
from eventapi.queries.selection_parsing import parse_selection
from eventapi.resources import access
from events.errors import Fault, Invalid
from events.vocabulary.resources import Entity

_PER_READ = 100
"""Resources whose history is read in one turn."""

_PAGE = 100
"""Resources on a page if `limit` is not given."""

_PER_PIECE = 500
"""Resources that are encoded at once in a list without pages."""

_PER_TURN = 1_000
"""Resources that are filtered before other requests run."""


class Listing(msgspec.Struct, frozen=True):
    """A list that a client asks for; ``behind`` is the sort key of its cursor, if any."""

    shape: Shape
    selection: Selection
    texts: Texts
    limit: int
    after: str | None = None
    behind: Any = None
    q: str | None = None
    as_of: str | None = None
    fields: Sequence[str] | None = None
    count: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether resources are left out."""
        return bool(self.selection.filters or self.q)

    def cut(self, numbers: Sequence[int], most: int | None) -> Sequence[int]:
        """The first ``most`` of ascending numbers behind the cursor, in order.

        If they are counted, these are all numbers. An order by other fields comes later.
        """
        if not self.selection.is_by_id:
            return numbers
        after, most = (None, None) if self.count else (self.after, most)
        start, end = 0, len(numbers)
        if self.selection.descending:
            end = end if after is None else bisect_left(numbers, int(after))
            start = 0 if most is None else max(0, end - most)
            return numbers[start:end][::-1]
        start = 0 if after is None else bisect_right(numbers, int(after))
        return numbers[start : end if most is None else start + most]


@lru_cache(256)
def parse_listing(shape: Shape, query_string: bytes) -> Listing:
    """The list of a query; raises `Invalid` with every fault.

    Cached, because clients send the same few queries, and to parse one takes as long as a read.
    """
    texts = query_texts(query_string)
    if shape.version.is_replacement:
        query: Any = from_texts(texts, ListQueryV1, "query")
        selection = parse_selection({}, {name: texts[name] for name in texts}, [])
        after: Any = UNSET if query.after is UNSET else str(query.after)
        return _listing(shape, selection, texts, query, after, None)
    faults: list[Fault] = []
    selection = parse_selection(shape.columns, texts, faults)
    for name, values in texts.items():
        if name not in CONTROLS and len(values) > 1:
            faults.append(Fault(f"/{name}", "is given more than once"))
    query = ListQuery()
    try:
        controls = {name: values for name, values in texts.items() if name in CONTROLS}
        query = from_texts(controls, ListQuery, "query")
    except Invalid as error:
        faults += error.faults
    fields = _fields(shape, texts.get("fields", [UNSET])[-1], faults)
    try:
        if not faults:
            return _listing(shape, selection, texts, query, query.after, fields)
    except ValueError as error:
        faults.append(Fault("/after", str(error)))
    raise Invalid(*(msgspec.structs.replace(fault, where="query") for fault in faults))


def _listing(  # noqa: PLR0917 - the parts of a query
    shape: Shape,
    selection: Selection,
    texts: Texts,
    query: Any,
    after: str | UnsetType,
    fields: Sequence[str] | None,
) -> Listing:
    return Listing(
        shape,
        selection,
        texts,
        _PAGE if query.limit is UNSET else query.limit,
        after or None,
        None if after is UNSET else selection.key_of_cursor(after),
        query.q or None,
        None if query.as_of is UNSET else query.as_of,
        fields,
        getattr(query, "count", UNSET) == "true",
    )


def _fields(shape: Shape, text: str | UnsetType, faults: list[Fault]) -> Sequence[str] | None:
    if text is UNSET:
        return None
    names = text.split(",")
    known = shape.view.__struct_fields__
    faults += [
        Fault("/fields", f"has {name!r}, which is no field") for name in names if name not in known
    ]
    return names


async def list_resources(request: ApiRequest, shape: Shape) -> Response[Any]:
    """The resources that the caller may read and that a query selects."""
    listing = parse_listing(shape, request.scope["query_string"])
    if shape.version.lists_all and "limit" not in listing.texts:
        return await _all(request, listing)
    found, count = await _page(request, listing)
    page, more = found[: listing.limit], len(found) > listing.limit
    following = _following(request, listing, page[-1]) if more else None
    headers = [JSON]
    if following is not None:
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    rows = _rows(request, listing, page)
    content = shape.page(rows, following, count) if shape.version.has_pages else rows
    return Response(200, headers, encode(content))


async def _page(request: ApiRequest, listing: Listing) -> tuple[list[Entity], int | UnsetType]:
    """The resources of a page and the next one; and how many there are on all pages."""
    if listing.as_of is not None and listing.count and not listing.is_filtered:
        position = await request.resolve_as_of(request.reader.state, listing.as_of)
        count = await _past_count(request, listing, position)
        uncounted = msgspec.structs.replace(listing, as_of=str(position), count=False)
        return (await _page(request, uncounted))[0], count
    most = listing.limit + 1
    if listing.as_of is None:
        rows = await _present_rows(request, listing)
        start = 0
        if listing.behind is not None:
            start = rows.behind(listing.behind, listing.selection.key(_owner_names(request)))
        if not listing.is_filtered:
            return rows.part(start, start + most), len(rows) if listing.count else UNSET
        slices = _filtered_slices(request, listing, rows.part(0 if listing.count else start))
    else:
        slices = _past_slices(request, listing, listing.as_of)
        if not listing.selection.is_by_id:
            slices = _sorted_slices(request, listing, slices)
    found: list[Entity] = []
    async with aclosing(slices):
        async for entities in slices:
            found += entities
            if not listing.count and len(found) >= most:
                break
    if not listing.count:
        return found[:most], UNSET
    key = listing.selection.key(_owner_names(request))
    start = 0 if listing.behind is None else bisect_right(found, listing.behind, key=key)
    return found[start : start + most], len(found)


async def _all(request: ApiRequest, listing: Listing) -> Response[Any]:
    """Everything that a query of version 1 selects; a long list is streamed."""
    slices = _slices(request, listing)
    found: list[Entity] = []
    async for entities in slices:
        found += entities
        if len(found) > _PER_PIECE:
            break
    else:
        return Response(200, [JSON], encode(_rows(request, listing, found)))

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with aclosing(slices):
            yield b"[" + encode(_rows(request, listing, found))[1:-1]
            async for entities in slices:
                # Authenticate again: the client may be slow, and its session may have ended.
                await request.authenticate()
                if entities:
                    yield b"," + encode(_rows(request, listing, entities))[1:-1]
        yield b"]"

    if request.method == "HEAD":
        await slices.aclose()
    return StreamingResponse([JSON], pieces())


def _slices(request: ApiRequest, listing: Listing) -> AsyncGenerator[list[Entity], None]:
    """The selected resources in slices, in the order of their numbers."""
    if listing.as_of is not None:
        return _past_slices(request, listing, listing.as_of)
    reader, resource = request.reader, listing.shape.resource
    by_id = reader.state[resource.collection].by_id
    numbers = access.readable_numbers(resource, reader.state, reader.user)
    entities = [by_id[number] for number in listing.cut(numbers, None)]
    return _filtered_slices(request, listing, entities)


async def _present_rows(request: ApiRequest, listing: Listing) -> Rows[Any]:
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
    token = (id(table), table.changed_at.get(name.owner, 0))
    orders = request.services.orders
    known = None if owner is None else orders.find(name, token)
    if known is not None:
        return Rows(known, table.by_id.__getitem__)
    # Copied from one state, which changes while they are sorted.
    entities = [table.by_id[number] for number in numbers]
    async with request.services.history.turn_of(reader.number):
        entities = await sorted_entities(entities, selection.key(_owner_names(request)))
        if owner is not None:
            orders.add(name, token, await numbers_of(entities))
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
                found = await _selected(request, listing, entities[start : start + _PER_TURN])
            yield found


async def _sorted_slices(
    request: ApiRequest, listing: Listing, slices: AsyncGenerator[list[Entity], None]
) -> AsyncGenerator[list[Entity], None]:
    """All resources of other slices, sorted; behind the cursor unless all are counted."""
    found: list[Entity] = []
    async with aclosing(slices):
        async for entities in slices:
            found += entities
    key = listing.selection.key(_owner_names(request))
    async with request.services.history.turn_of(request.reader.number):
        found = await sorted_entities(found, key)
    is_whole = listing.behind is None or listing.count
    yield found if is_whole else found[bisect_right(found, listing.behind, key=key) :]


async def _past_slices(
    request: ApiRequest, listing: Listing, as_of: str
) -> AsyncGenerator[list[Entity], None]:
    """The selected resources of the past; each slice waits for its own turn."""
    reader, resource = request.reader, listing.shape.resource
    table = reader.state[resource.collection]
    position = await request.resolve_as_of(reader.state, as_of)
    numbers = access.ever_readable_numbers(resource, reader.state, reader.user)
    wanted = listing.cut(numbers, None)
    past = request.services.history
    with past.admit(reader.number):
        for start in range(0, len(wanted), _PER_READ):
            async with past.turn(reader.number):
                if start and reader.user:  # An erasure since the last slice destroyed the keys.
                    await request.authenticate()
                some = [
                    found for one in wanted[start : start + _PER_READ] if (found := table.find(one))
                ]
                then = await past.entities_at(position, some, table)
                entities = [then[one.id] for one in some if one.id in then]
                selected = await _selected(request, listing, entities)
            yield selected


async def _past_count(request: ApiRequest, listing: Listing, position: int) -> int:
    """How many resources that the caller may read existed at a position."""
    reader, resource, past = request.reader, listing.shape.resource, request.services.history
    table = reader.state[resource.collection]
    numbers = access.ever_readable_numbers(resource, reader.state, reader.user)
    count = 0
    with past.admit(reader.number):
        for start in range(0, len(numbers), _PER_TURN):
            async with past.turn(reader.number):
                found = map(table.find, numbers[start : start + _PER_TURN])
                count += sum(one is not None and table.existed(one, position) for one in found)
                await asyncio.sleep(0)
    return count


async def _selected(
    request: ApiRequest, listing: Listing, entities: Sequence[Entity]
) -> list[Entity]:
    """The resources that pass the filters and the search."""
    if listing.selection.filters:
        entities = [*filter(listing.selection.matches(_owner_names(request)), entities)]
        await asyncio.sleep(0)
    if listing.q is None:
        return list(entities)
    texts, names = request.services.casefolded_texts, listing.shape.text_fields
    return await matching(entities, names, listing.q, len(entities), texts)


def _owner_names(request: ApiRequest) -> Callable[[int], str]:
    """The function that returns the username of an owner."""
    users = request.reader.state.users.by_id

    def name(owner: int) -> str:
        user = users.get(owner)
        return "" if user is None else user.username

    return name


def _rows(request: ApiRequest, listing: Listing, page: Sequence[Entity]) -> list[Any]:
    name, shape, fields = _owner_names(request), listing.shape, listing.fields
    if fields is None:
        return request.services.encoded.of(shape, page, name)
    rows = [shape.view_of(entity, name(entity.owner)) for entity in page]
    return [{field: getattr(row, field) for field in fields} for row in rows]


def _following(request: ApiRequest, listing: Listing, last: Entity) -> str:
    """The URL of the next page."""
    cursor = listing.selection.cursor(last, _owner_names(request))
    texts = {name: values[-1] for name, values in listing.texts.items()}
    head = {"limit": str(listing.limit), "after": cursor}
    if "sort" not in texts:
        head["order"] = "asc"
    texts = {name: text for name, text in texts.items() if name not in {"limit", "after"}}
    tail = {name: texts.pop(name) for name in ("q", "as_of") if name in texts}
    place = f"/{listing.shape.resource.collection}?{urlencode(head | texts | tail)}"
    return request.url_of(place)
