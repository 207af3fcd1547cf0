"""The items of the caller."""

from __future__ import annotations

from msgspec import UNSET

from eventapi.commands.items import (
    CreateItem,
    DeleteItem,
    RestoreItem,
    UpdateItem,
    known_item,
    owned_item,
)
from eventapi.http.conditional import etag
from eventapi.http.endpoint import Endpoint
from eventapi.http.listing import list_items
from eventapi.http.request import JSON_TYPES, PATCH_TYPES, ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.http.routes.history import get_item_history
from eventapi.http.schemas.requests import (
    HistoryQuery,
    ItemBody,
    ItemPatch,
    ItemQuery,
    ListQuery,
    Restoration,
)
from eventapi.http.schemas.responses import ApiVersion, Change
from eventapi.journal.batch import CommandResult
from events.errors import Fault, Invalid, NotFound
from events.vocabulary.items import Content
from projections.state import State
from projections.tables.items import Item, Tombstone


async def create_item(request: ApiRequest) -> Response:
    """Make an item."""
    _, user, _ = await request.authenticated()
    body = await request.json_as(ItemBody)
    content = Content(body.title, body.description)
    command = CreateItem(user.id, content, request.services.quota)
    outcome = await request.execute(command, user.subject)
    status = request.version.created_status
    if status != 201:
        return _item_written(request, outcome, user.username)
    location = request.url_of(f"/items/{_item(outcome).id}").encode()
    return _item_written(request, outcome, user.username, status, (b"location", location))


async def get_item(request: ApiRequest) -> Response:
    """Read an item."""
    state, user, _ = await request.authenticated()
    number = request.item_number()
    query = request.query_as(ItemQuery)
    if query.as_of is not UNSET:
        known = known_item(state, user.id, number)
        position = await request.resolve_as_of(state, query.as_of)
        async with request.services.history.turn_of(user.id):
            state = await request.services.history.items_at(position, [known], state)
    item = owned_item(state, user.id, number)
    tag = (b"etag", etag(item.version))
    if request.has_current(item):
        return Response(304, [tag])
    return json_response(request.version.item(item, user.username), 200, tag)


async def replace_item(request: ApiRequest) -> Response:
    """Replace an item's content."""
    return await _update(request, ItemBody, JSON_TYPES)


async def update_item(request: ApiRequest) -> Response:
    """Change what is named of an item's content."""
    return await _update(request, ItemPatch, PATCH_TYPES)


async def delete_item(request: ApiRequest) -> Response:
    """Delete an item."""
    state, user, _ = await request.authenticated()
    number = request.item_number()
    outcome = await request.first_result(user.subject)
    if outcome is None:
        versions = request.accepted_versions(owned_item(state, user.id, number))
        outcome = await request.execute(DeleteItem(user.id, number, versions), user.subject)
    return request.written(outcome, None)


async def restore_item(request: ApiRequest) -> Response:
    """Undo a deletion, or bring an earlier content back."""
    state, user, _ = await request.authenticated()
    body = Restoration()
    if await request.content():
        body = await request.json_as(Restoration)
    number = request.item_number()
    outcome = await request.first_result(user.subject)
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
        position = await request.resolve_as_of(state, body.as_of)
    elif isinstance(known, Tombstone):
        position = known.version - 1
        # What comes in between may not be undone as well.
        if versions is None:
            versions = frozenset({known.version})
    else:
        raise Invalid(Fault("/as_of", "is required: the item is not deleted"))
    async with request.services.history.turn_of(caller):
        past = await request.services.history.items_at(position, [known], state)
    then = past.items.by_id.get(number)
    if then is None:
        raise NotFound(f"there was no such item at position {position}")
    content = Content(then.title, then.description)
    return RestoreItem(caller, number, position, content, versions, request.services.quota)


async def _update(
    request: ApiRequest, kind: type[ItemBody | ItemPatch], media_types: frozenset[str]
) -> Response:
    state, user, _ = await request.authenticated()
    body = await request.json_as(kind, media_types)
    number = request.item_number()
    outcome = await request.first_result(user.subject)
    if outcome is None:
        versions = request.accepted_versions(owned_item(state, user.id, number))
        quota = request.services.quota
        command = UpdateItem(user.id, number, body.title, body.description, versions, quota)
        outcome = await request.execute(command, user.subject)
    return _item_written(request, outcome, user.username)


def _item(outcome: CommandResult) -> Item:
    assert isinstance(outcome.entity, Item)  # noqa: S101 - for the type checker
    return outcome.entity


def _item_written(
    request: ApiRequest,
    outcome: CommandResult,
    owner: str,
    status: int = 200,
    *headers: tuple[bytes, bytes],
) -> Response:
    item = _item(outcome)
    tag = (b"etag", etag(item.version))
    return request.written(outcome, request.version.item(item, owner), status, tag, *headers)


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
