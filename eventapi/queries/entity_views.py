"""The values of users, resources, API keys and webhooks, in clear and sealed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from eventapi.resources.as_read import as_shown
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.resources import ResourceTable

ACCOUNT_COLLECTIONS: Final = ("keys", "users", "webhooks")
"""The collections that are no resources."""

_USER_CLEAR: Final = ("status", "created_at", "email_verified", "password_at")
_USER_SEALED: Final = ("username", "email", "pending_email", "full_name")
_KEY_CLEAR: Final = ("scopes", "created_at", "expires_at", "last_used_at")
_WEBHOOK: Final = (
    "url",
    "types",
    "description",
    "created_at",
    "disabled",
    "enabled_at",
    "secret_at",
    "after",
)
"""The values that are shown. Lists, so that no secret is shown by accident."""


class EntityView(msgspec.Struct, frozen=True):
    """The values of an entity as JSON, by name.

    ``version`` is the position of its last event. ``owner`` is the subject of the user whose key
    seals the ``sealed`` values, or empty.
    """

    version: int
    owner: str
    clear: Mapping[str, Any]
    sealed: Mapping[str, Any]


def entity_view(state: State, subject: str, is_gone: Callable[[int], bool]) -> EntityView | None:
    """The entity with a subject; ``None`` if it does not exist, is deleted or erased.

    Shares of a user whose number ``is_gone`` are left out.
    """
    collection, _, name = subject.partition("/")
    if collection == "users":
        return _user(state, int(name))
    if collection == "keys":
        key = state.keys.by_id.get(name)
        if key is None:
            return None
        owner = f"users/{key.user}"
        clear = {"user": owner} | _values(key, _KEY_CLEAR)
        return EntityView(key.version, owner, clear, {"name": key.name})
    if collection == "webhooks":
        webhook = state.webhooks.by_id.get(int(name))
        if webhook is None:
            return None
        return EntityView(webhook.version, "", _values(webhook, _WEBHOOK), {})
    table = state.resources.get(collection)
    entity = None if table is None else table.by_id.get(int(name))
    return None if table is None or entity is None else _resource(table, entity, is_gone)


def _user(state: State, number: int) -> EntityView | None:
    user = state.users.by_id.get(number)
    if user is None or user.status == "erased":
        return None
    second_factor = state.second_factors.of(number) is not None
    clear = {"roles": sorted(user.roles), "second_factor": second_factor}
    clear |= _values(user, _USER_CLEAR)
    return EntityView(user.version, user.subject, clear, _values(user, _USER_SEALED))


def _resource(table: ResourceTable, entity: Entity, is_gone: Callable[[int], bool]) -> EntityView:
    resource, owner = table.resource, f"users/{entity.owner}"
    shares = sorted(table.shares.get(entity.id, {}).items())
    clear = {
        "owner": owner,
        "created_at": entity.created_at,
        **_values(entity, [field.name for field in resource.clear]),
        "shares": {f"users/{user}": can for user, can in shares if not is_gone(user)},
    }
    sealed = _values(entity, [field.name for field in resource.sealed])
    return EntityView(entity.version, owner, clear, sealed)


def _values(entity: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: msgspec.to_builtins(as_shown(getattr(entity, name))) for name in names}
