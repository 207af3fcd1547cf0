"""Short names for tests about items, the built-in resource."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType

from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.commands.resources import Create, Delete, Import, Restore, Update
from eventapi.resources.registry import load_registry
from projections.state import State

REGISTRY: Final = load_registry(())  # The one that a server without modules has.
ITEMS: Final = REGISTRY.vocabulary
ITEM: Final = REGISTRY.item

Item: Final = ITEM.type.entity
Content: Final = ITEM.type.content
ContentChanges: Final = ITEM.type.changes
ItemCreated: Final = ITEM.type.created
ItemUpdated: Final = ITEM.type.updated
ItemDeleted: Final = ITEM.type.deleted
ItemRestored: Final = ITEM.type.restored


def empty_state() -> State:
    """The state before the first record, of a log with items only."""
    return State.empty(ITEMS)


def _values(content: Any) -> dict[str, Any]:
    return {"title": content.title, "description": content.description}


def create_item(owner: int, content: Any, quota: Quota = NO_QUOTA) -> Create:
    """The command that creates an item."""
    return Create(ITEM, owner, _values(content), quota)


def import_item(  # noqa: PLR0917 - the order of the command
    owner: str, content: Any, created_at: str | None, number: int | None, above: int, actor: str
) -> Import:
    """The command that imports an item."""
    return Import(ITEM, owner, _values(content), created_at, number, above, actor)


def update_item(  # noqa: PLR0917 - as above
    caller: int,
    item: int,
    title: str | UnsetType = UNSET,
    description: str | UnsetType | None = UNSET,
    versions: frozenset[int] | None = None,
    quota: Quota = NO_QUOTA,
) -> Update:
    """The command that changes an item."""
    given = {"title": title, "description": description}
    values = {name: value for name, value in given.items() if value is not UNSET}
    return Update(ITEM, caller, item, values, versions, quota)


def delete_item(caller: int, item: int, versions: frozenset[int] | None = None) -> Delete:
    """The command that deletes an item."""
    return Delete(ITEM, caller, item, versions)


def restore_item(  # noqa: PLR0917 - as above
    caller: int,
    item: int,
    as_of: int,
    content: Any,
    versions: frozenset[int] | None = None,
    quota: Quota = NO_QUOTA,
) -> Restore:
    """The command that restores an item."""
    return Restore(ITEM, caller, item, as_of, _values(content), versions, quota)
