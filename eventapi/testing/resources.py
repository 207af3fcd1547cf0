"""Short names for events and commands about declared resources.

Functions in the past tense make events that happened, as `given` takes them and `When.then` compares
them. The others make commands for `Given.when`::

    given(registered(1, "ann"), created(Invoice(number="A-1", cents=5), 1, owner=1)).when(
        act(Invoice, 1, "pay", caller=1)
    ).then(acted(Invoice, 1, "pay", paid=True))

The fields of a resource are keyword arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, structs

from eventapi.commands.resources import Act, Create, Delete, Restore, Update
from eventapi.commands.sharing import Share, Unshare
from eventapi.resources.declaration import Resource
from eventapi.testing.given import Happened
from eventapi.testing.kinds import Kind, declared_of, parts_of
from events.vocabulary.resources import ResourceEvent

Permission = Literal["read", "write"]


def created(content: Resource, number: int, /, owner: int) -> Happened:
    """The creation of resource ``number`` by user ``owner``."""
    kind = declared_of(type(content))
    parts = parts_of(kind.contents(structs.asdict(content)))
    return _happened(kind, number, kind.type.created(owner, **parts))


def updated(kind: Kind, number: int, /, **changes: Any) -> Happened:
    """Changes of a resource."""
    found = declared_of(kind)
    return _happened(found, number, found.type.updated(**parts_of(found.changes(changes))))


def deleted(kind: Kind, number: int, /) -> Happened:
    """The deletion of a resource."""
    found = declared_of(kind)
    return _happened(found, number, found.type.deleted())


def restored(content: Resource, number: int, /, as_of: int) -> Happened:
    """The restoration of a resource's content at position ``as_of``."""
    kind = declared_of(type(content))
    parts = parts_of(kind.contents(structs.asdict(content)))
    return _happened(kind, number, kind.type.restored(as_of, **parts))


def shared(kind: Kind, number: int, /, user: int, can: Permission) -> Happened:
    """User ``user`` may read a resource, or read and write it."""
    found = declared_of(kind)
    return _happened(found, number, found.type.shared(user, can))


def unshared(kind: Kind, number: int, /, user: int) -> Happened:
    """User ``user`` lost what `shared` gave."""
    found = declared_of(kind)
    return _happened(found, number, found.type.unshared(user))


def acted(
    kind: Kind,
    number: int,
    action: str,
    arguments: Mapping[str, Any] | None = None,
    /,
    **changes: Any,
) -> Happened:
    """An action with ``arguments`` made these changes."""
    found = declared_of(kind)
    values = msgspec.to_builtins(dict(arguments or {})) or UNSET
    parts = parts_of(found.changes_of_action(changes, values))
    return _happened(found, number, found.type.actions[action](**parts))


def create(content: Resource, /, caller: int) -> Create:
    """The command that creates a resource."""
    return Create(declared_of(type(content)), caller, structs.asdict(content))


def update(kind: Kind, number: int, /, *, caller: int, **changes: Any) -> Update:
    """The command that changes a resource."""
    return Update(declared_of(kind), caller, number, changes)


def delete(kind: Kind, number: int, /, *, caller: int) -> Delete:
    """The command that deletes a resource."""
    return Delete(declared_of(kind), caller, number)


def restore(content: Resource, number: int, /, as_of: int, *, caller: int) -> Restore:
    """The command that restores a resource's content at position ``as_of``."""
    kind = declared_of(type(content))
    return Restore(kind, caller, number, as_of, structs.asdict(content))


def act(kind: Kind, number: int, action: str, /, *, caller: int, **arguments: Any) -> Act:
    """The command that runs an action; checks its arguments like a request.

    Raises `msgspec.ValidationError` for a wrong argument.
    """
    found = declared_of(kind)
    body = msgspec.convert(msgspec.to_builtins(arguments), found.actions[action].body)
    return Act(found, caller, number, action, structs.asdict(body))


def share(
    kind: Kind, number: int, /, username: str, can: Permission = "read", *, caller: int
) -> Share:
    """The command that lets another user read a resource, or read and write it."""
    return Share(declared_of(kind), caller, number, username, can)


def unshare(kind: Kind, number: int, /, username: str, *, caller: int) -> Unshare:
    """The command that takes back what `share` gave."""
    return Unshare(declared_of(kind), caller, number, username)


def _happened(kind: Any, number: int, event: ResourceEvent) -> Happened:
    return kind.type.subject(number), event
