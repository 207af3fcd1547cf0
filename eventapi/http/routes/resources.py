"""The endpoints of resources: one controller for each kind and version.

The templates have the handlers. `eventapi.http.routes.templates` fills in the names, the Structs and
the guards of a kind, so that routes and OpenAPI document read as if they were written for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import msgspec
from litestar import Controller
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.commands.resources import (
    not_found,
    readable,
    readable_or_tombstone,
    writable,
    writable_or_tombstone,
)
from eventapi.http.handlers import delete, get, patch, post, put
from eventapi.http.operation import ACTION
from eventapi.http.request import ApiRequest, MergePatch
from eventapi.http.response import Response, json_response, written
from eventapi.http.routes.allowed import allowed_on
from eventapi.http.routes.events import follow_resources
from eventapi.http.routes.history import resource_history
from eventapi.http.routes.listing import list_resources
from eventapi.http.routes.writes import (
    WRITE_HEADERS,
    Target,
    act,
    change,
    creation,
    deletion,
    entity_of,
    first_result,
    number_in_path,
    replacement,
    restoration,
    tag_of,
    view_of,
)
from eventapi.http.schemas.requests import (
    FeedQuery,
    HistoryQuery,
    ListQuery,
    ReadQuery,
    Restoration,
)
from eventapi.http.schemas.resources import Shape
from eventapi.journal.batch import CommandResult
from eventapi.resources.declared import Declared
from events.vocabulary.resources import Entity
from projections.tables.tombstones import Tombstone

if TYPE_CHECKING:
    # `Shape.namespace` has the Structs of a kind by these names.
    ResourceBody: TypeAlias = msgspec.Struct
    ResourcePatch: TypeAlias = msgspec.Struct
    ResourceView: TypeAlias = msgspec.Struct
    ResourcePage: TypeAlias = msgspec.Struct
    HistoryEntry: TypeAlias = msgspec.Struct
    ResourceChange: TypeAlias = msgspec.Struct
    ActionBody: TypeAlias = msgspec.Struct

_ONE: Final = "/{number:str}"
_WRITTEN_HEADERS: Final = ("ETag", "Event-Position")
_WRITE_ERRORS: Final = ("not-found", "precondition-failed", "quota-exceeded", "validation-failed")


class ResourceTemplate(Controller):
    """The resources of one kind, their history and their live changes."""

    shape: ClassVar[Shape]

    @post(
        name="create_{kind}",
        summary="Create {a_noun}",
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=_WRITTEN_HEADERS,
        errors=("quota-exceeded", "validation-failed"),
    )
    async def create(
        self, request: ApiRequest, data: JSONBody[ResourceBody]
    ) -> Response[ResourceView]:
        """Create {a_noun}."""
        command = creation(self.shape.resource, _target(request), data)
        result = await request.execute(command, request.caller.user.subject)
        status = request.version.created_status
        if status != 201:
            return _written(request, self.shape, result, status)
        subject = self.shape.resource.type.subject(entity_of(result).id)
        location = request.url_of(f"/{subject}").encode()
        return _written(request, self.shape, result, status, (b"location", location))

    @get(
        name="list_{collection}",
        summary="List your {collection}",
        query=ListQuery,
        response_headers=("Allow", "Link"),
        errors=("validation-failed",),
    )
    async def list_all(self, request: ApiRequest) -> Response[ResourcePage]:
        """List your {collection}, ordered by number."""
        return await list_resources(request, self.shape)

    @get(
        "/events",
        name="follow_{collection}",
        summary="Follow the changes of your {collection}",
        query=FeedQuery,
        request_headers=("Last-Event-ID",),
        media_type="text/event-stream",
        errors=("validation-failed",),
    )
    async def follow(self, request: ApiRequest) -> Response[ResourceChange]:
        """Follow the changes of your {collection} as they happen.

        The name of an event (`event:`) is its type: `{kind}.created`, `{kind}.updated`,
        `{kind}.deleted` or `{kind}.restored`; its `id:` is its position. An event named `reset` means
        that the client followed another log, and must fetch everything again.
        """
        return await follow_resources(request, self.shape)

    @get(
        _ONE,
        name="get_{kind}",
        summary="Read {a_noun}",
        query=ReadQuery,
        request_headers=("If-None-Match", "If-Match"),
        response_headers=("Allow", "ETag"),
        empty_statuses=(304,),
        errors=("not-found", "precondition-failed", "validation-failed"),
    )
    async def get_one(self, request: ApiRequest, number: FromPath[str]) -> Response[ResourceView]:
        """Read {a_noun}."""
        resource, reader = self.shape.resource, request.reader
        wanted = number_in_path(self.shape, number)
        query = request.query_as(ReadQuery)
        if query.as_of is UNSET:
            entity = readable(resource, reader.state, reader.user, wanted)
        else:
            found = readable_or_tombstone(resource, reader.state, reader.user, wanted)
            position = await request.resolve_as_of(reader.state, query.as_of)
            entity = await _past(request, self.shape, found, position)
        tag = tag_of(entity)
        if request.has_current(entity):
            return Response(304, [tag])
        allowed = allowed_on(request, resource, entity)
        return json_response(view_of(request, self.shape, entity), 200, allowed, tag)

    @get(
        f"{_ONE}/history",
        name="get_{kind}_history",
        summary="List every change of {a_noun}",
        query=HistoryQuery,
        response_headers=("Link",),
        errors=("not-found", "validation-failed"),
    )
    async def history(
        self, request: ApiRequest, number: FromPath[str]
    ) -> Response[list[HistoryEntry]]:
        """List every change of {a_noun}, oldest first, also after its deletion.

        With `limit`, the response is a page, and `Link` has the URL of the next one.
        """
        return await resource_history(request, self.shape, number_in_path(self.shape, number))

    @post(
        f"{_ONE}/restore",
        name="restore_{kind}",
        summary="Undo a deletion, or restore earlier content",
        request_headers=WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def restore(
        self,
        request: ApiRequest,
        number: FromPath[str],
        data: JSONBody[Restoration | None] = None,
    ) -> Response[ResourceView]:
        """Undo a deletion, or restore the content at an earlier point."""
        state, user, shape = request.caller.state, request.caller.user, self.shape
        wanted = number_in_path(shape, number)
        result = await first_result(request, shape.resource)
        if result is None:
            found = writable_or_tombstone(shape.resource, state, user.id, wanted)
            target = _target(request, found)
            command = await restoration(request, shape, target, found, data)
            result = await request.execute(command, user.subject)
        return _written(request, self.shape, result)

    @put(
        _ONE,
        name="replace_{kind}",
        summary="Replace {a_noun}'s content",
        request_headers=WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def replace(
        self, request: ApiRequest, number: FromPath[str], data: JSONBody[ResourceBody]
    ) -> Response[ResourceView]:
        """Replace {a_noun}'s content."""
        result = await _write(request, self.shape, number, replacement, data)
        return _written(request, self.shape, result)

    @patch(
        _ONE,
        name="update_{kind}",
        summary="Change parts of {a_noun}'s content",
        request_headers=WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=_WRITE_ERRORS,
    )
    async def update(
        self, request: ApiRequest, number: FromPath[str], data: MergePatch[ResourcePatch]
    ) -> Response[ResourceView]:
        """Change the given members of {a_noun}'s content."""
        result = await _write(request, self.shape, number, change, data)
        return _written(request, self.shape, result)

    @delete(
        _ONE,
        name="delete_{kind}",
        summary="Delete {a_noun}",
        request_headers=WRITE_HEADERS,
        response_headers=("Event-Position",),
        errors=("not-found", "precondition-failed"),
    )
    async def delete_one(self, request: ApiRequest, number: FromPath[str]) -> Response[None]:
        """Delete {a_noun}."""
        return written(await _write(request, self.shape, number, deletion, None), None)


class ActionTemplate(Controller):
    """One action of a kind."""

    shape: ClassVar[Shape]

    @post(
        f"{_ONE}/ACTION",
        name="{action}_{kind}",
        summary="{action_summary}",
        request_headers=WRITE_HEADERS,
        response_headers=_WRITTEN_HEADERS,
        errors=(*_WRITE_ERRORS, "action-refused"),
    )
    async def act(
        self, request: ApiRequest, number: FromPath[str], data: JSONBody[ActionBody | None] = None
    ) -> Response[ResourceView]:
        """{action_description}."""
        command = partial(act, request.route_handler.opt[ACTION])
        result = await _write(request, self.shape, number, command, data)
        return _written(request, self.shape, result)


def _target(request: ApiRequest, found: Entity | Tombstone | None = None) -> Target:
    """The target of a write: a new resource, or an existing one at certain versions."""
    caller, quota = request.caller.user.id, request.services.quota
    if found is None:
        return Target(caller, quota)
    return Target(caller, quota, found.id, request.accepted_versions(found))


async def _write(
    request: ApiRequest,
    shape: Shape,
    text: str,
    command: Callable[[Declared, Target, Any], Command],
    body: msgspec.Struct | None,
) -> CommandResult:
    """The result of a write to the resource whose number is ``text``."""
    state, user, resource = request.caller.state, request.caller.user, shape.resource
    number = number_in_path(shape, text)
    result = await first_result(request, resource)
    if result is None:
        target = _target(request, writable(resource, state, user.id, number))
        result = await request.execute(command(resource, target, body), user.subject)
    return result


async def _past(
    request: ApiRequest, shape: Shape, found: Entity | Tombstone, position: int
) -> Entity:
    """A resource as of a position; raises `NotFound` if it did not exist then."""
    reader, history = request.reader, request.services.history
    async with history.turn_of(reader.number):
        table = reader.state[shape.resource.collection]
        past = await history.entities_at(position, [found], table)
    if found.id not in past:
        raise not_found(shape.resource)
    return past[found.id]


def _written(
    request: ApiRequest,
    shape: Shape,
    result: CommandResult,
    status: int = 200,
    *headers: tuple[bytes, bytes],
) -> Response[Any]:
    entity = entity_of(result)
    view = view_of(request, shape, entity)
    return written(result, view, status, tag_of(entity), *headers)
