"""Commands about resources of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, structs

from eventapi.commands.command import Decision
from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.resources import access
from eventapi.resources.declaration import application_code
from eventapi.resources.declared import Contents, Declared
from eventapi.resources.fields import as_declared
from eventapi.resources.merging import merged_values
from events.errors import (
    ApplicationFailed,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    NotUnique,
    PreconditionFailed,
    Unauthenticated,
)
from events.vocabulary.resources import Entity, ResourceEvent
from projections.state import State
from projections.tables.tombstones import Tombstone
from projections.tables.users import User


class ResourceCommand(msgspec.Struct, frozen=True):
    """Base of the commands about a resource."""

    resource: Declared


class Create(ResourceCommand, frozen=True):
    """Create a resource that the caller owns, with all ``values`` of its fields."""

    caller: int
    values: Mapping[str, Any]
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        resource = self.resource
        caller = active_user(state, self.caller)
        if not access.may_create(resource, caller):
            raise Forbidden(f"only the role {resource.access.write!r} may do this")
        resource.rules.check(**self.values)
        self.quota.check(state, caller.id, adds_one=True)
        sealed, clear = resource.contents(self.values)
        number = state[resource.collection].last_id + 1
        _check_unique(resource, state, number, caller.id, (sealed, clear))
        event = resource.type.created(caller.id, clear=clear, personal=sealed)
        return decision_on(resource, number, event, caller.subject, caller.subject)


class Import(ResourceCommand, frozen=True):
    """Import a resource, with values that the rules may not allow today.

    ``owner`` is a username, because the owner may be imported by the same group of commands. The
    resource keeps ``number`` if none ever had it. Otherwise, or without a number, it gets a new one
    that is greater than ``above``.
    """

    owner: str
    values: Mapping[str, Any]
    created_at: str | None
    number: int | None
    above: int
    actor: str

    def decide(self, state: State) -> Decision:
        resource = self.resource
        user = state.users.find_by_username(self.owner)
        if user is None:
            raise NotFound(f"there is no user {self.owner!r}")
        table = state[resource.collection]
        number = self.number
        if number is None or table.is_used(number):
            number = max(table.last_id, self.above) + 1
        sealed, clear = resource.contents(self.values)
        _check_unique(resource, state, number, user.id, (sealed, clear))
        event = resource.type.created(user.id, self.created_at, clear=clear, personal=sealed)
        return decision_on(resource, number, event, self.actor, user.subject)


class Update(ResourceCommand, frozen=True):
    """Change the given ``values`` of a resource.

    ``versions`` are the versions at which the resource may be; ``None`` accepts any. With
    ``merges`` the values that are objects are merge patches (RFC 7396) of the current ones.
    """

    caller: int
    number: int
    values: Mapping[str, Any]
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA
    merges: bool = False

    def decide(self, state: State) -> Decision:
        resource = self.resource
        entity = writable(resource, state, self.caller, self.number)
        check_version(entity, self.versions)
        values = merged_values(resource, entity, self.values) if self.merges else self.values
        self.quota.check(state, entity.owner, adds_one=False)
        sealed, clear = _changes(resource, state, entity, values)
        event = resource.type.updated(clear=clear, personal=sealed)
        return decision_on(
            resource, entity.id, event, f"users/{self.caller}", f"users/{entity.owner}"
        )


class Delete(ResourceCommand, frozen=True):
    """Delete a resource; ``versions`` as in `Update`."""

    caller: int
    number: int
    versions: frozenset[int] | None = None

    def decide(self, state: State) -> Decision:
        entity = writable(self.resource, state, self.caller, self.number)
        check_version(entity, self.versions)
        event = self.resource.type.deleted()
        return decision_on(self.resource, entity.id, event, f"users/{self.caller}", "")


class Restore(ResourceCommand, frozen=True):
    """Give a resource, even a deleted one, the ``values`` of position ``as_of``.

    The rules about single values do not apply, because the values are from the log, and an imported
    one may break them. ``versions`` as in `Update`. With ``undeletes`` the resource must be deleted.
    """

    caller: int
    number: int
    as_of: int
    values: Mapping[str, Any]
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA
    undeletes: bool = False

    def decide(self, state: State) -> Decision:
        resource = self.resource
        found = writable_or_tombstone(resource, state, self.caller, self.number)
        if self.undeletes and not isinstance(found, Tombstone):
            raise not_deleted(resource)
        check_version(found, self.versions)
        self.quota.check(state, found.owner, adds_one=isinstance(found, Tombstone))
        sealed, clear = resource.contents(self.values)
        _check_unique(resource, state, found.id, found.owner, (sealed, clear))
        event = resource.type.restored(self.as_of, clear=clear, personal=sealed)
        return decision_on(
            resource, found.id, event, f"users/{self.caller}", f"users/{found.owner}"
        )


class UndoDeletion(ResourceCommand, frozen=True):
    """Restore what an earlier command of the same group deletes.

    The log does not have the line of that deletion yet. ``versions`` as in `Update`.
    """

    caller: int
    number: int
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        resource, table = self.resource, state[self.resource.collection]
        before, tombstone = table.staged_deletions.get(self.number), table.deleted.get(self.number)
        if before is None or tombstone is None:
            raise not_found(resource)
        values = {name: getattr(before, name) for name in resource.names}
        as_of = tombstone.version - 1
        return Restore(
            resource, self.caller, self.number, as_of, values, self.versions, self.quota
        ).decide(state)


class Act(ResourceCommand, frozen=True):
    """Run an action that the application declares, and write what it changed.

    ``arguments`` are the action's keyword parameters, ``versions`` as in `Update`. Raises
    `ActionRefused` as the action does, and `ApplicationFailed`.
    """

    caller: int
    number: int
    action: str
    arguments: Mapping[str, Any]
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        resource = self.resource
        entity = writable(resource, state, self.caller, self.number)
        check_version(entity, self.versions)
        self.quota.check(state, entity.owner, adds_one=False)
        arguments = msgspec.to_builtins(dict(self.arguments)) or msgspec.UNSET
        before, given = resource.value_of(entity), as_declared(dict(self.arguments))
        place = f"the action {self.action!r} of {resource.type.subject(entity.id)}"
        with application_code(place):
            after = resource.actions[self.action].call(resource.value_of(entity), **given)
            if not isinstance(after, resource.cls):
                kinds = f"a {type(after).__name__} and no {resource.cls.__name__}"
                raise ApplicationFailed(f"{place} returned {kinds}")
            values = {
                name: value
                for name in resource.names
                if (value := getattr(after, name)) != getattr(before, name)
            }
            resource.rules.check(**values)
        sealed, clear = resource.changes_of_action(values, arguments)
        _check_unique(resource, state, entity.id, entity.owner, (sealed, clear), entity)
        event = resource.type.actions[self.action](clear=clear, personal=sealed)
        return decision_on(
            resource, entity.id, event, f"users/{self.caller}", f"users/{entity.owner}"
        )


def readable(resource: Declared, state: State, user: User | None, number: int) -> Entity:
    """A resource that a user may read; raises `NotFound` if there is none."""
    entity = state[resource.collection].by_id.get(number)
    if entity is None or not access.may_read(resource, state, user, entity):
        raise not_found(resource)
    return entity


def readable_or_tombstone(
    resource: Declared, state: State, user: User | None, number: int
) -> Entity | Tombstone:
    """A resource that a user may read, or its tombstone; raises `NotFound`."""
    found = state[resource.collection].find(number)
    if found is None or not access.may_read(resource, state, user, found):
        raise not_found(resource)
    return found


def writable(resource: Declared, state: State, caller: int, number: int) -> Entity:
    """A resource that the caller may change.

    Raises `Unauthenticated`, `NotFound` if the caller may not even read it, and `Forbidden` if only
    that.
    """
    found = writable_or_tombstone(resource, state, caller, number)
    if isinstance(found, Tombstone):
        raise not_found(resource)
    return found


def writable_or_tombstone(
    resource: Declared, state: State, caller: int, number: int
) -> Entity | Tombstone:
    """A resource that the caller may change, or its tombstone; raises as `writable`."""
    user = active_user(state, caller)
    found = readable_or_tombstone(resource, state, user, number)
    if not access.may_write(resource, state, user, found):
        if isinstance(found, Tombstone):
            raise not_found(resource)
        raise Forbidden("you may read this, and not change it")
    return found


def not_found(resource: Declared) -> NotFound:
    """The refusal for a resource that does not exist, or that the caller may not see."""
    return NotFound(resource.missing)


def not_deleted(resource: Declared) -> Invalid:
    """The refusal to undo the deletion of a resource that is not deleted."""
    noun = resource.kind.replace("_", " ")
    return Invalid(Fault("/as_of", f"is required: the {noun} is not deleted"))


def owned(resource: Declared, state: State, caller: int, number: int) -> Entity | Tombstone:
    """A resource of the caller, or its tombstone.

    Raises `NotFound` if the caller may not read it, and `Forbidden` if another user owns it.
    """
    found = readable_or_tombstone(resource, state, active_user(state, caller), number)
    if found.owner != caller:
        raise Forbidden("only the owner may do this")
    return found


def active_user(state: State, number: int) -> User:
    """The caller, who may have been erased since the request was authenticated.

    Raises `Unauthenticated` for one who is disabled or erased.
    """
    user = state.users.by_id.get(number)
    if user is None or user.disabled:
        raise Unauthenticated("the account is not in use any more")
    return user


def check_version(found: Entity | Tombstone, versions: frozenset[int] | None) -> None:
    """Raise `PreconditionFailed` unless a resource is at one of these versions."""
    if versions is not None and found.version not in versions:
        raise PreconditionFailed(f"it is at version {found.version}")


def _changes(
    resource: Declared, state: State, entity: Entity, values: Mapping[str, Any]
) -> Contents:
    """The sealed and the clear content of a change; raises `Invalid` and `NotUnique`."""
    resource.rules.check(**values)
    sealed, clear = resource.changes(values)
    _check_unique(resource, state, entity.id, entity.owner, (sealed, clear), entity)
    return sealed, clear


def _check_unique(  # noqa: PLR0917 - the place of the values, and the values
    resource: Declared,
    state: State,
    number: int,
    owner: int,
    contents: Contents,
    current: Entity | None = None,
) -> None:
    """Raise `NotUnique` if another live resource has values that must be unique.

    The values are those of the event, as the index has them; the others are the ``current`` ones.
    """
    if not resource.type.unique:
        return
    table, faults = state[resource.collection], []
    values = {
        name: value
        for content in contents
        if content is not None
        for name, value in structs.asdict(content).items()
        if value is not UNSET
    }
    for index, rule in enumerate(resource.type.unique):
        if values.keys().isdisjoint(rule.fields):
            continue
        key = tuple(
            values[name] if name in values else getattr(current, name) for name in rule.fields
        )
        place = (index, 0 if rule.is_global else owner, key)
        if None not in key and table.unique.get(place, number) != number:
            faults += [Fault(f"/{name}", "is taken by another resource") for name in rule.fields]
    if faults:
        raise NotUnique(*faults)


def decision_on(
    resource: Declared, number: int, event: ResourceEvent, actor: str, sealed_for: str
) -> Decision:
    """The decision on an event, whose personal values are sealed for ``sealed_for``."""
    has_seal = getattr(event, "personal", None) is not None
    subject = resource.type.subject(number)
    return Decision(subject, event, actor, sealed_for if has_seal else "")
