"""Endpoints for the items of the caller."""

from __future__ import annotations

from litestar import Controller
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from eventapi.commands.items import (
    CreateItem,
    DeleteItem,
    RestoreItem,
    UpdateItem,
    item_or_tombstone,
    owned_item,
)
from eventapi.http.conditional import etag
from eventapi.http.guards import logged_in
from eventapi.http.handlers import delete, get, patch, post, put
from eventapi.http.request import ApiRequest, MergePatch, written
from eventapi.http.response import Response, json_response
from eventapi.http.routes.events import follow_items
from eventapi.http.routes.history import item_history
from eventapi.http.routes.listing import list_items
from eventapi.http.schemas.requests import (
    FeedQuery,
    HistoryQuery,
    ItemBody,
    ItemPatch,
    ItemQuery,
    ListQuery,
    Restoration,
)
from eventapi.http.schemas.responses import Change, ItemChange, ItemPage, ItemView
from eventapi.http.urls import path_number
from eventapi.journal.batch import CommandResult
from events.errors import Fault, Invalid, NotFound
from events.vocabulary.items import Content
from projections.tables.items import Item, Tombstone

_ONE = "/{item_id:str}"
_WRITE_HEADERS = ("If-Match", "If-None-Match", "Idempotency-Key")
_WRITTEN_HEADERS = ("ETag", "Event-Position")
_WRITE_ERRORS = ("not-found", "precondition-failed", "quota-exceeded", "validation-failed")


class ItemsController(Controller):
    """The caller's items, their history and their live changes."""

    path = "/items"
    tags = ("items",)
    guards = (logged_in,)

    @post(
        summary="Create an item",
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=_WRITTEN_HEADERS,
        errors=("quota-exceeded", "validation-failed"),
    )
    async def create_item(
        self, request: ApiRequest, data: JSONBody[ItemBody]
    ) -> Response[ItemView]:
        """Create an item."""
        user = request.caller.user
        content = Content(data.title, data.description)
        command = CreateItem(user.id, content, request.services.quota)
        result = await request.execute(command, user.subject)
        status = request.version.created_status
        if status != 201:
            return _item_written(request, result, status)
        location = request.url_of(f"/items/{_item(result).id}").encode()
        return _item_written(request, result, status, (b"location", location))

    @get(
        summary="List your items",
        query=ListQuery,
        response_headers=("Link",),
        errors=("validation-failed",),
    )
    async def list_items(self, request: ApiRequest) -> Response[ItemPage]:
        """List your items, ordered by number."""
        return await list_items(request, request.query_as(ListQuery))

    @get(
        "/events",
        summary="Follow the changes of your items",
        query=FeedQuery,
        request_headers=("Last-Event-ID",),
        media_type="text/event-stream",
        errors=("validation-failed",),
    )
    async def follow_items(self, request: ApiRequest) -> Response[ItemChange]:
        """Follow the changes of your items as they happen.

        The name of an event (`event:`) is its type: `item.created`, `item.updated`, `item.deleted` or
        `item.restored`; its `id:` is its position. An event named `reset` means that the client
        followed another log, and must fetch everything again.
        """
        return await follow_items(request, request.query_as(FeedQuery))

    @get(
        _ONE,
        summary="Read an item",
        query=ItemQuery,
        request_headers=("If-None-Match", "If-Match"),
        response_headers=("ETag",),
        empty_statuses=(304,),
        errors=("not-found", "precondition-failed", "validation-failed"),
    )
    async def get_item(self, request: ApiRequest, item_id: FromPath[str]) -> Response[ItemView]:
        """Read an item."""
        state, user = request.caller.state, request.caller.user
        number = _item_number(item_id)
        query = request.query_as(ItemQuery)
        if query.as_of is not UNSET:
            known = item_or_tombstone(state, user.id, number)
            position = await request.resolve_as_of(state, query.as_of)
            async with request.services.history.turn_of(user.id):
                state = await request.services.history.items_at(position, [known], state)
        item = owned_item(state, user.id, number)
        tag = (b"etag", etag(item.version))
        if request.has_current(item):
            return Response(304, [tag])
        return json_response(request.version.item(item, user.username), 200, tag)

    @get(
        f"{_ONE}/history",
        summary="List every change of an item",
        query=HistoryQuery,
        response_headers=("Link",),
        errors=("not-found", "validation-failed"),
    )
    async def get_item_history(
        self, request: ApiRequest, item_id: FromPath[str]
    ) -> Response[list[Change]]:
        """List every change of an item, oldest first, also after its deletion.

        With `limit`, the response is a page, and `Link` has the URL of the next one.
        """
        return await item_history(request, _item_number(item_id))

    @post(
        f"{_ONE}/restore",
        summary="Undo a deletion, or restore earlier content",
        request_headers=_WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def restore_item(
        self,
        request: ApiRequest,
        item_id: FromPath[str],
        data: JSONBody[Restoration | None] = None,
    ) -> Response[ItemView]:
        """Undo a deletion, or restore the content at an earlier point."""
        subject, number = request.caller.user.subject, _item_number(item_id)
        result = await request.first_result(subject)
        if result is None:
            command = await _restoration(request, number, data or Restoration())
            result = await request.execute(command, subject)
        return _item_written(request, result)

    @put(
        _ONE,
        summary="Replace an item's content",
        request_headers=_WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def replace_item(
        self, request: ApiRequest, item_id: FromPath[str], data: JSONBody[ItemBody]
    ) -> Response[ItemView]:
        """Replace an item's content."""
        return await _update(request, item_id, data)

    @patch(
        _ONE,
        summary="Change parts of an item's content",
        request_headers=_WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def update_item(
        self, request: ApiRequest, item_id: FromPath[str], data: MergePatch[ItemPatch]
    ) -> Response[ItemView]:
        """Change the given members of an item's content."""
        return await _update(request, item_id, data)

    @delete(
        _ONE,
        summary="Delete an item",
        request_headers=_WRITE_HEADERS,
        response_headers=("Event-Position",),
        errors=("not-found", "precondition-failed"),
    )
    async def delete_item(self, request: ApiRequest, item_id: FromPath[str]) -> Response[None]:
        """Delete an item."""
        state, user = request.caller.state, request.caller.user
        number = _item_number(item_id)
        result = await request.first_result(user.subject)
        if result is None:
            versions = request.accepted_versions(owned_item(state, user.id, number))
            result = await request.execute(DeleteItem(user.id, number, versions), user.subject)
        return written(result, None)


def _item_number(text: str) -> int:
    return path_number(text, "Item not found")


async def _restoration(request: ApiRequest, number: int, body: Restoration) -> RestoreItem:
    state, caller = request.caller.state, request.caller.user.id
    history = request.services.history
    known = item_or_tombstone(state, caller, number)
    versions = request.accepted_versions(known)
    if body.as_of is not UNSET:
        position = await request.resolve_as_of(state, body.as_of)
    elif isinstance(known, Tombstone):
        position = known.version - 1
        # Do not overwrite a restoration by another request.
        if versions is None:
            versions = frozenset({known.version})
    else:
        raise Invalid(Fault("/as_of", "is required: the item is not deleted"))
    async with history.turn_of(caller):
        past = await history.items_at(position, [known], state)
    then = past.items.by_id.get(number)
    if then is None:
        raise NotFound(f"there was no such item at position {position}")
    content = Content(then.title, then.description)
    return RestoreItem(caller, number, position, content, versions, request.services.quota)


async def _update(
    request: ApiRequest, item_id: str, body: ItemBody | ItemPatch
) -> Response[ItemView]:
    state, user = request.caller.state, request.caller.user
    number = _item_number(item_id)
    result = await request.first_result(user.subject)
    if result is None:
        versions = request.accepted_versions(owned_item(state, user.id, number))
        quota = request.services.quota
        command = UpdateItem(user.id, number, body.title, body.description, versions, quota)
        result = await request.execute(command, user.subject)
    return _item_written(request, result)


def _item(result: CommandResult) -> Item:
    assert isinstance(result.entity, Item)  # noqa: S101 - for the type checker
    return result.entity


def _item_written(
    request: ApiRequest, result: CommandResult, status: int = 200, *headers: tuple[bytes, bytes]
) -> Response[ItemView]:
    item = _item(result)
    view = request.version.item(item, request.caller.user.username)
    return written(result, view, status, (b"etag", etag(item.version)), *headers)
