"""Writes to a resource: what the single routes and a batch have in common.

A `Write` is one way to write a resource of a kind. Its ``command`` is a pure function of the caller,
the resource and the body, so a batch can call it under the log's lock, where the numbers of new
resources are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET, structs

from eventapi.commands.command import Command
from eventapi.commands.quota import Quota
from eventapi.commands.resources import (
    Act,
    Create,
    Delete,
    Restore,
    UndoDeletion,
    Update,
    not_deleted,
    not_found,
    readable_or_tombstone,
)
from eventapi.commands.sharing import Share, Unshare
from eventapi.http.conditional import etag
from eventapi.http.request import ApiRequest
from eventapi.http.schemas.requests import Restoration
from eventapi.http.schemas.resources import Shape, ShareBody, ShareView
from eventapi.http.urls import path_number
from eventapi.journal.batch import CommandResult
from eventapi.resources.declared import Declared
from events.errors import NotFound, UnknownKind
from events.record import entity_number
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.tombstones import Tombstone

WRITE_HEADERS: Final = ("If-Match", "If-None-Match", "Idempotency-Key")
"""The headers of a write to an existing resource."""

ID: Final = "{id}"
NAME: Final = "{username}"
"""The steps of a place that stand for a number and for a username."""

Place = tuple[str, ...]
"""The steps of a path after the collection: ``(ID, "restore")``."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """The caller of a write, and the resource to write.

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


def replacement(resource: Declared, target: Target, body: Any) -> Update:
    """The command that sets all values of a resource."""
    values = structs.asdict(body)
    return Update(resource, target.caller, target.number, values, target.versions, target.quota)


def change(resource: Declared, target: Target, body: Any) -> Command:
    """The command that changes the values that are set in a merge patch (RFC 7396)."""
    command = replacement(resource, target, body)
    values = {name: value for name, value in command.values.items() if value is not UNSET}
    return structs.replace(command, values=values, merges=True)


def deletion(resource: Declared, target: Target, _: Any) -> Command:
    """The command that deletes a resource."""
    return Delete(resource, target.caller, target.number, target.versions)


def undeletion(resource: Declared, target: Target, _: Any) -> Command:
    """The command that undoes a deletion earlier in the same batch."""
    return UndoDeletion(resource, target.caller, target.number, target.versions, target.quota)


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


def sharing(resource: Declared, target: Target, body: Any) -> Share:
    """The command that shares a resource with a user."""
    return Share(
        resource,
        target.caller,
        target.number,
        target.username,
        body.can,
        target.versions,
        target.quota,
    )


def unsharing(resource: Declared, target: Target, _: Any) -> Command:
    """The command that ends a share."""
    return Unshare(resource, target.caller, target.number, target.username, target.versions)


async def restoration(
    request: ApiRequest,
    shape: Shape,
    target: Target,
    found: Entity | Tombstone,
    body: Restoration | None,
) -> Restore:
    """The command that restores ``found``, whose earlier values are read from the log."""
    state, resource, versions = request.caller.state, shape.resource, target.versions
    as_of = UNSET if body is None else body.as_of
    if as_of is not UNSET:
        position = await request.resolve_as_of(state, as_of)
    elif isinstance(found, Tombstone):
        position = found.version - 1
        if versions is None:  # The values are those before this deletion, and not a later one.
            versions = frozenset({found.version})
    else:
        raise not_deleted(resource)
    undeletes = as_of is UNSET
    history = request.services.history
    async with history.turn_of(target.caller):
        past = await history.entities_at(position, [found], state[resource.collection])
    if found.id not in past:
        raise NotFound(f"there was no such {shape.noun} at position {position}")
    values = {name: getattr(past[found.id], name) for name in resource.names}
    return Restore(
        resource, target.caller, found.id, position, values, versions, target.quota, undeletes
    )


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
            return share_view(request, target.username, body)
        return view_of(request, self.shape, entity_of(result))


def writes_of(shape: Shape) -> Iterator[tuple[str, Place, Write]]:
    """The writes to a kind: method, place below the collection, and the write."""
    status = shape.version.created_status
    yield "POST", (), Write(shape, creation, shape.body, True, status)
    yield "PUT", (ID,), Write(shape, replacement, shape.body, True)
    yield "PATCH", (ID,), Write(shape, change, shape.patch, True)
    yield "DELETE", (ID,), Write(shape, deletion, status=204)
    yield "POST", (ID, "restore"), Write(shape, None, Restoration)
    if shape.resource.shareable:
        yield "PUT", (ID, "shares", NAME), Write(shape, sharing, ShareBody, True)
        yield "DELETE", (ID, "shares", NAME), Write(shape, unsharing, status=204)
    for action in shape.resource.actions.values():
        command = partial(act, action.name)
        yield "POST", (ID, action.name), Write(shape, command, action.body, action.needs_body)


async def first_result(request: ApiRequest, resource: Declared) -> CommandResult | None:
    """The result of an earlier equal request about one resource; see `first_results`."""
    results = await first_results(request, [resource])
    return None if results is None else results[0]


async def first_results(
    request: ApiRequest, resources: Sequence[Declared]
) -> list[CommandResult] | None:
    """The results of an earlier equal request.

    ``resources`` are the kinds of its commands. Raises `NotFound`, with its ``part``, if the caller may not read one of the resources any more:
    the answer is that of today.
    """
    caller = request.caller.user
    try:
        results = await request.first_results(caller.subject, len(resources))
    except NotFound as erased:
        refusal = not_found(resources[erased.part or 0])
        refusal.part = erased.part
        raise refusal from None
    if results is None:
        return None
    state = await request.services.journal.state()
    user = state.users.by_id.get(caller.id)
    for part, (resource, result) in enumerate(zip(resources, results, strict=True)):
        try:
            number = entity_number(result.record.subject)
            readable_or_tombstone(resource, state, user, number)
        except NotFound as refusal:
            refusal.part = part
            raise
    return results


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


def share_view(request: ApiRequest, username: str, body: ShareBody) -> ShareView:
    """The response body of a share, with the username as it was registered."""
    user = request.reader.state.users.find_by_username(username)
    return ShareView(username if user is None else user.username, body.can)


def number_in_path(shape: Shape, text: str) -> int:
    """The number of a resource in a path; raises `NotFound` if none can have it."""
    return path_number(text, shape.resource.missing)


def tag_of(entity: Entity) -> tuple[bytes, bytes]:
    """The header ETag of a resource."""
    return b"etag", etag(entity.version)
