"""Writes to a resource: what the single routes and a batch have in common.

A `Write` is one way to write a resource of a kind. Its ``command`` is a pure function of the caller,
the resource and the body, so a batch can call it under the log's lock, where the numbers of new
resources are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET, structs

from eventapi.commands.command import Command
from eventapi.commands.quota import Quota
from eventapi.commands.resources import Act, Create, Delete, Restore, Share, Unshare, Update
from eventapi.http.conditional import etag
from eventapi.http.request import ApiRequest
from eventapi.http.schemas.requests import Restoration
from eventapi.http.schemas.resources import Shape, ShareBody, ShareView
from eventapi.journal.batch import CommandResult
from eventapi.resources.declared import Declared
from events.errors import Fault, Invalid, NotFound, UnknownKind
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.resources import Tombstone

ID: Final = "{id}"
NAME: Final = "{username}"
"""The steps of a place that stand for a number and for a username."""

Place = tuple[str, ...]
"""The steps of a path after the collection: ``(ID, "restore")``."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """Who writes, and to which resource.

    ``number`` is 0 for a creation. ``versions`` are those at which the resource may be; ``None``
    accepts any. ``username`` is that of the other user of a share.
    """

    caller: int
    quota: Quota
    number: int = 0
    versions: frozenset[int] | None = None
    username: str = ""


def creation(resource: Declared, target: Target, body: Any) -> Command:
    """The command that creates a resource."""
    return Create(resource, target.caller, structs.asdict(body), target.quota)


def update(resource: Declared, target: Target, body: Any) -> Command:
    """The command that changes the values that are set in a body."""
    values = {name: value for name, value in structs.asdict(body).items() if value is not UNSET}
    return Update(resource, target.caller, target.number, values, target.versions, target.quota)


def deletion(resource: Declared, target: Target, _: Any) -> Command:
    """The command that deletes a resource."""
    return Delete(resource, target.caller, target.number, target.versions)


def act(action: str, resource: Declared, target: Target, body: Any) -> Command:
    """The command that runs an action; without a body defaults apply."""
    arguments = structs.asdict(resource.actions[action].body() if body is None else body)
    return Act(
        resource,
        target.caller,
        target.number,
        action,
        arguments,
        target.versions,
        target.quota,
    )


def sharing(resource: Declared, target: Target, body: Any) -> Command:
    """The command that shares a resource with a user."""
    return Share(resource, target.caller, target.number, target.username, body.can)


def unsharing(resource: Declared, target: Target, _: Any) -> Command:
    """The command that ends a share."""
    return Unshare(resource, target.caller, target.number, target.username)


async def restoration(
    request: ApiRequest,
    shape: Shape,
    target: Target,
    found: Entity | Tombstone,
    body: Restoration | None,
) -> Restore:
    """The command that restores ``found``, whose earlier values are read from the log."""
    state, resource, versions = request.caller.state, shape.resource, target.versions
    if body is not None and body.as_of is not UNSET:
        position = await request.resolve_as_of(state, body.as_of)
    elif isinstance(found, Tombstone):
        position = found.version - 1
        # Do not overwrite a restoration by another request.
        if versions is None:
            versions = frozenset({found.version})
    else:
        raise Invalid(Fault("/as_of", f"is required: the {shape.noun} is not deleted"))
    history = request.services.history
    async with history.turn_of(target.caller):
        past = await history.entities_at(position, [found], state[resource.collection])
    if found.id not in past:
        raise NotFound(f"there was no such {shape.noun} at position {position}")
    values = {name: getattr(past[found.id], name) for name in resource.names}
    return Restore(resource, target.caller, found.id, position, values, versions, target.quota)


class Write(msgspec.Struct, frozen=True):
    """One way to write a resource of a kind.

    ``command`` is ``None`` for a `restoration`, which reads the log first. ``body`` is the type of
    the body, if there may be one. ``status`` is that of success.
    """

    shape: Shape
    command: Callable[[Declared, Target, Any], Command] | None
    body: type[msgspec.Struct] | None = None
    needs_body: bool = False
    status: int = 200

    def view(self, request: ApiRequest, target: Target, body: Any, result: CommandResult) -> Any:
        """The body of the response; ``None`` if it has none."""
        if self.status == 204:
            return None
        if self.command is sharing:
            return ShareView(target.username, body.can)
        return view_of(request, self.shape, entity_of(result))


def writes_of(shape: Shape) -> Iterator[tuple[str, Place, Write]]:
    """The writes to a kind: method, place below the collection, and the write."""
    status = shape.version.created_status
    yield "POST", (), Write(shape, creation, shape.body, True, status)
    yield "PUT", (ID,), Write(shape, update, shape.body, True)
    yield "PATCH", (ID,), Write(shape, update, shape.patch, True)
    yield "DELETE", (ID,), Write(shape, deletion, status=204)
    yield "POST", (ID, "restore"), Write(shape, None, Restoration)
    if shape.resource.shareable:
        yield "PUT", (ID, "shares", NAME), Write(shape, sharing, ShareBody, True)
        yield "DELETE", (ID, "shares", NAME), Write(shape, unsharing, status=204)
    for action in shape.resource.actions.values():
        command = partial(act, action.name)
        yield "POST", (ID, action.name), Write(shape, command, action.body, action.needs_body)


def check_known(shape: Shape, state: State) -> None:
    """Raise `UnknownKind` if a newer version changed the kind."""
    resource = shape.resource
    if state[resource.collection].resource is not resource.type:
        raise UnknownKind(f"a newer version of this application has changed {resource.kind}")


def entity_of(result: CommandResult) -> Entity:
    """The resource right after a write that did not delete it."""
    assert isinstance(result.entity, Entity)  # noqa: S101 - for the type checker
    return result.entity


def view_of(request: ApiRequest, shape: Shape, entity: Entity) -> msgspec.Struct:
    """The response body of a resource."""
    owner = request.reader.state.users.by_id.get(entity.owner)
    return shape.view_of(entity, "" if owner is None else owner.username)


def tag_of(entity: Entity) -> tuple[bytes, bytes]:
    """The header ETag of a resource."""
    return b"etag", etag(entity.version)
