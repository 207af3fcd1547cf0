"""The items of the caller."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import islice
from operator import gt, lt
from urllib.parse import urlencode

from msgspec import UNSET

from eventapi.batch import Outcome
from eventapi.commands.items import (
    CreateItem,
    DeleteItem,
    RestoreItem,
    UpdateItem,
    known_item,
    owned_item,
)
from eventapi.http.bodies import (
    HistoryQuery,
    ItemBody,
    ItemPatch,
    ItemQuery,
    ListQuery,
    Restoration,
)
from eventapi.http.conditional import etag
from eventapi.http.endpoint import Endpoint
from eventapi.http.history import get_item_history
from eventapi.http.reply import JSON, Reply, encode, json_reply
from eventapi.http.request import JSON_TYPES, PATCH_TYPES, ApiRequest
from eventapi.http.search import matching
from eventapi.http.stream import Stream
from eventapi.http.views import ApiVersion, Change
from events.errors import Fault, Invalid, NotFound
from events.items import Content
from projections.items import Item, Tombstone
from projections.state import State
from projections.users import User

_AT_ONCE = 100
"""Of how many items the past is read at once."""

_PAGE = 100
"""Items on a page, unless `limit` asks for another number."""

_ITEMS_PER_PIECE = 500
"""Items that are encoded at once where a list has no pages."""


async def create_item(request: ApiRequest) -> Reply:
    """Make an item."""
    _, user, _ = await request.authenticated()
    body = await request.body_as(ItemBody)
    content = Content(body.title, body.description)
    command = CreateItem(user.id, content, request.services.quota)
    outcome = await request.execute(command, user.subject)
    status = request.version.created_status
    if status != 201:
        return _item_written(request, outcome, user.username)
    location = request.url_of(f"/items/{_item(outcome).id}").encode()
    return _item_written(request, outcome, user.username, status, (b"location", location))


async def list_items(request: ApiRequest) -> Reply:
    """List the caller's items, by number."""
    state, user, _ = await request.authenticated()
    query = request.query_as(ListQuery)
    limit = _PAGE if query.limit is UNSET else query.limit
    if query.limit is UNSET and request.version.lists_all:
        return await _all_items(request, state, user, query)
    found = await _found(request, state, user.id, query, limit + 1)
    page, more = found[:limit], len(found) > limit
    following = _following(request, query, limit, page[-1].id) if more else None
    headers = [JSON]
    if following is not None:
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    return Reply(200, headers, encode(request.version.page(page, user.username, following)))


async def _found(
    request: ApiRequest, state: State, owner: int, query: ListQuery, most: int | None
) -> list[Item]:
    """The items that a query asks for, so many at most; all of one moment."""
    if query.as_of is not UNSET:
        return await _found_then(request, state, owner, query, as_of=query.as_of, most=most)
    items = _listed(state, owner, query)
    if query.q is UNSET:
        return list(islice(items, most))
    # The state moves on between two slices of a search.
    every = list(items)
    async with request.services.past.turn_of(owner):
        return await matching(every, query.q, most or len(every), request.services.texts)


async def _all_items(request: ApiRequest, state: State, user: User, query: ListQuery) -> Reply:
    """Everything that a query asks for, without pages; what is long is sent in pieces."""
    items = await _found(request, state, user.id, query, None)
    version = request.version
    if len(items) <= _ITEMS_PER_PIECE:
        return Reply(200, [JSON], encode(version.page(items, user.username, None)))

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(items), _ITEMS_PER_PIECE):
            if start:
                # Checked again: the client may be slow, and its session may have ended.
                await request.authenticated()
            some = items[start : start + _ITEMS_PER_PIECE]
            content = encode([version.item(item, user.username) for item in some])
            yield (b"," if start else b"[") + content[1:-1]
        yield b"]"

    return Stream([JSON], pieces())


async def get_item(request: ApiRequest) -> Reply:
    """Read an item."""
    state, user, _ = await request.authenticated()
    number = request.item_number()
    query = request.query_as(ItemQuery)
    if query.as_of is not UNSET:
        known = known_item(state, user.id, number)
        position = await request.point(state, query.as_of)
        async with request.services.past.turn_of(user.id):
            state = await request.services.past.at(position, [known], state)
    item = owned_item(state, user.id, number)
    tag = (b"etag", etag(item.version))
    if request.is_known(item):
        return Reply(304, [tag])
    return json_reply(request.version.item(item, user.username), 200, tag)


async def replace_item(request: ApiRequest) -> Reply:
    """Replace an item's content."""
    return await _update(request, ItemBody, JSON_TYPES)


async def update_item(request: ApiRequest) -> Reply:
    """Change what is named of an item's content."""
    return await _update(request, ItemPatch, PATCH_TYPES)


async def delete_item(request: ApiRequest) -> Reply:
    """Delete an item."""
    state, user, _ = await request.authenticated()
    number = request.item_number()
    outcome = await request.first_outcome(user.subject)
    if outcome is None:
        versions = request.accepted_versions(owned_item(state, user.id, number))
        outcome = await request.execute(DeleteItem(user.id, number, versions), user.subject)
    return request.written(outcome, None)


async def restore_item(request: ApiRequest) -> Reply:
    """Undo a deletion, or bring an earlier content back."""
    state, user, _ = await request.authenticated()
    body = Restoration()
    if await request.content():
        body = await request.body_as(Restoration)
    number = request.item_number()
    outcome = await request.first_outcome(user.subject)
    if outcome is None:
        command = await _restoration(request, state, user.id, number, body)
        outcome = await request.execute(command, user.subject)
    return _item_written(request, outcome, user.username)


async def _restoration(
    request: ApiRequest, state: State, caller: int, number: int, body: Restoration
) -> RestoreItem:
    known = known_item(state, caller, number)
    versions = request.accepted_versions(known)
    if body.as_of is not UNSET:
        position = await request.point(state, body.as_of)
    elif isinstance(known, Tombstone):
        position = known.version - 1
        # What comes in between may not be undone as well.
        if versions is None:
            versions = frozenset({known.version})
    else:
        raise Invalid(Fault("/as_of", "is required: the item is not deleted"))
    async with request.services.past.turn_of(caller):
        past = await request.services.past.at(position, [known], state)
    then = past.items.by_id.get(number)
    if then is None:
        raise NotFound(f"there was no such item at position {position}")
    content = Content(then.title, then.description)
    return RestoreItem(caller, number, position, content, versions, request.services.quota)


async def _found_then(
    request: ApiRequest, state: State, owner: int, query: ListQuery, *, as_of: str, most: int | None
) -> list[Item]:
    """As `_found`, of the past; of all that an owner ever had no more is read than is needed."""
    position = await request.point(state, as_of)
    ever = state.items.ever(owner)
    if query.order == "desc":
        ever.reverse()
    if query.after is not UNSET:
        behind = gt if query.order == "asc" else lt
        ever = [item for item in ever if behind(item.id, query.after)]
    found: list[Item] = []
    past = request.services.past
    async with past.turn_of(owner):
        for start in range(0, len(ever), _AT_ONCE):
            then = await past.at(position, ever[start : start + _AT_ONCE], state)
            items = list(_listed(then, owner, query))
            if query.q is not UNSET:
                items = await matching(items, query.q, len(items), request.services.texts)
            found += items
            if most is not None and len(found) >= most:
                break
    return found


async def _update(
    request: ApiRequest, kind: type[ItemBody | ItemPatch], media_types: frozenset[str]
) -> Reply:
    state, user, _ = await request.authenticated()
    body = await request.body_as(kind, media_types)
    number = request.item_number()
    outcome = await request.first_outcome(user.subject)
    if outcome is None:
        versions = request.accepted_versions(owned_item(state, user.id, number))
        quota = request.services.quota
        command = UpdateItem(user.id, number, body.title, body.description, versions, quota)
        outcome = await request.execute(command, user.subject)
    return _item_written(request, outcome, user.username)


def _item(outcome: Outcome) -> Item:
    assert isinstance(outcome.entity, Item)  # noqa: S101 - for the type checker
    return outcome.entity


def _item_written(
    request: ApiRequest,
    outcome: Outcome,
    owner: str,
    status: int = 200,
    *headers: tuple[bytes, bytes],
) -> Reply:
    item = _item(outcome)
    tag = (b"etag", etag(item.version))
    return request.written(outcome, request.version.item(item, owner), status, tag, *headers)


def _listed(state: State, owner: int, query: ListQuery) -> Iterator[Item]:
    """The items in the order asked for, from behind ``after`` on, whatever their texts."""
    ids: Sequence[int] = state.items.by_owner[owner]
    by_id = state.items.by_id
    if query.order == "asc":
        numbers = range(0 if query.after is UNSET else bisect_right(ids, query.after), len(ids))
    else:
        end = len(ids) if query.after is UNSET else bisect_left(ids, query.after)
        numbers = range(end - 1, -1, -1)
    return map(by_id.__getitem__, map(ids.__getitem__, numbers))


def _following(request: ApiRequest, query: ListQuery, limit: int, last: int) -> str:
    place = f"/items?limit={limit}&after={last}&order={query.order}"
    asked = (("q", query.q), ("as_of", query.as_of))
    typed = [(name, text) for name, text in asked if text is not UNSET]
    return request.url_of(f"{place}&{urlencode(typed)}" if typed else place)


def endpoints(version: ApiVersion) -> list[Endpoint]:
    """The endpoints of items, in a version's shapes."""
    created = version.created_status
    where = ("ETag", "Event-Position") + (("Location",) if created == 201 else ())
    one = "/items/{item_id:str}"
    return [
        Endpoint(
            method="POST",
            path="/items",
            handler=create_item,
            summary="Make an item",
            tag="items",
            body=version.body(ItemBody),
            headers=("Idempotency-Key",),
            answers={created: version.item_type},
            answer_headers=where,
            errors=("quota-exceeded", "validation-failed"),
        ),
        Endpoint(
            method="GET",
            path="/items",
            handler=list_items,
            summary="List your items",
            tag="items",
            query=ListQuery,
            answers={200: version.page_type},
            answer_headers=("Link",),
            errors=("validation-failed",),
        ),
        Endpoint(
            method="GET",
            path=one,
            handler=get_item,
            summary="Read an item",
            tag="items",
            query=ItemQuery,
            headers=("If-None-Match", "If-Match"),
            answers={200: version.item_type, 304: None},
            answer_headers=("ETag",),
            errors=("not-found", "precondition-failed", "validation-failed"),
        ),
        Endpoint(
            method="GET",
            path=f"{one}/history",
            handler=get_item_history,
            summary="List every change of an item",
            tag="items",
            query=HistoryQuery,
            answers={200: list[Change]},
            answer_headers=("Link",),
            errors=("not-found", "validation-failed"),
        ),
        Endpoint(
            method="POST",
            path=f"{one}/restore",
            handler=restore_item,
            summary="Undo a deletion, or bring an earlier content back",
            tag="items",
            body=version.body(Restoration),
            body_required=False,
            headers=("If-Match", "If-None-Match", "Idempotency-Key"),
            answers={200: version.item_type},
            answer_headers=("ETag", "Event-Position"),
            errors=("not-found", "precondition-failed", "quota-exceeded", "validation-failed"),
        ),
        Endpoint(
            method="PUT",
            path=one,
            handler=replace_item,
            summary="Replace an item's content",
            tag="items",
            body=version.body(ItemBody),
            headers=("If-Match", "If-None-Match", "Idempotency-Key"),
            answers={200: version.item_type},
            answer_headers=("ETag", "Event-Position"),
            errors=("not-found", "precondition-failed", "quota-exceeded", "validation-failed"),
        ),
        Endpoint(
            method="PATCH",
            path=one,
            handler=update_item,
            summary="Change what is named of an item's content",
            tag="items",
            body=version.body(ItemPatch),
            media_types=sorted(PATCH_TYPES),
            headers=("If-Match", "If-None-Match", "Idempotency-Key"),
            answers={200: version.item_type},
            answer_headers=("ETag", "Event-Position"),
            errors=("not-found", "precondition-failed", "quota-exceeded", "validation-failed"),
        ),
        Endpoint(
            method="DELETE",
            path=one,
            handler=delete_item,
            summary="Delete an item",
            tag="items",
            headers=("If-Match", "If-None-Match", "Idempotency-Key"),
            answers={204: None},
            answer_headers=("Event-Position",),
            errors=("not-found", "precondition-failed"),
        ),
    ]
