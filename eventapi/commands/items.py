"""Commands about items."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.commands.command import Decision
from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.values import rules
from events.errors import NotFound, PreconditionFailed, Unauthenticated
from events.vocabulary.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from projections.state import State
from projections.tables.items import Item, Tombstone


class CreateItem(msgspec.Struct, frozen=True):
    """Create an item that the caller owns."""

    owner: int
    content: Content
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        owner = state.users.by_id.get(self.owner)
        if owner is None or owner.disabled:
            raise Unauthenticated("the account is not in use any more")
        rules.ITEM.check(title=self.content.title, description=self.content.description)
        self.quota.check(state, self.owner, adds_item=True)
        actor = owner.subject
        event = ItemCreated(self.owner, personal=self.content)
        return Decision(f"items/{state.items.last_id + 1}", event, actor, actor)


class ImportItem(msgspec.Struct, frozen=True):
    """Import an item with its texts as they are; the rules about values do not apply.

    ``owner`` is a username, because the owner may be imported by the same group of commands. The
    item keeps ``number`` if no item ever had it. Otherwise, or without a number, it gets a new one
    that is greater than ``above``.
    """

    owner: str
    content: Content
    created_at: str | None
    number: int | None
    above: int
    actor: str

    def decide(self, state: State) -> Decision:
        user = state.users.find_by_username(self.owner)
        if user is None:
            raise NotFound(f"there is no user {self.owner!r}")
        number = self.number
        if number is None or state.items.is_used(number):
            number = max(state.items.last_id, self.above) + 1
        event = ItemCreated(user.id, created_at=self.created_at, personal=self.content)
        return Decision(f"items/{number}", event, self.actor, user.subject)


class UpdateItem(msgspec.Struct, frozen=True):
    """Change the given values of an item.

    ``versions`` are the versions at which the item may be; ``None`` accepts any.
    """

    caller: int
    item: int
    title: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        item = owned_item(state, self.caller, self.item)
        _check_version(item, self.versions)
        rules.ITEM.check(title=self.title, description=self.description)
        self.quota.check(state, self.caller, adds_item=False)
        actor = f"users/{self.caller}"
        changes = ContentChanges(title=self.title, description=self.description)
        return Decision(f"items/{item.id}", ItemUpdated(personal=changes), actor, actor)


class DeleteItem(msgspec.Struct, frozen=True):
    """Delete an item; ``versions`` as in `UpdateItem`."""

    caller: int
    item: int
    versions: frozenset[int] | None = None

    def decide(self, state: State) -> Decision:
        item = owned_item(state, self.caller, self.item)
        _check_version(item, self.versions)
        return Decision(f"items/{item.id}", ItemDeleted(), f"users/{self.caller}")


class RestoreItem(msgspec.Struct, frozen=True):
    """Give an item, deleted or not, the content that it had at position ``as_of``.

    The rules about values do not apply, because the content is from the log, and an imported text
    may break them. ``versions`` as in `UpdateItem`.
    """

    caller: int
    item: int
    as_of: int
    content: Content
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        item = item_or_tombstone(state, self.caller, self.item)
        _check_version(item, self.versions)
        self.quota.check(state, self.caller, adds_item=isinstance(item, Tombstone))
        actor = f"users/{self.caller}"
        event = ItemRestored(self.as_of, personal=self.content)
        return Decision(f"items/{item.id}", event, actor, actor)


def owned_item(state: State, caller: int, number: int) -> Item:
    """The caller's item. Raises `NotFound`, also for an item of another user."""
    item = state.items.by_id.get(number)
    if item is None or item.owner != caller:
        raise NotFound("Item not found")
    return item


def item_or_tombstone(state: State, caller: int, number: int) -> Item | Tombstone:
    """The caller's item or its tombstone.

    Raises `NotFound` if there is none, or if it belongs to another user.
    """
    item = state.items.find(number)
    if item is None or item.owner != caller:
        raise NotFound("Item not found")
    return item


def _check_version(item: Item | Tombstone, versions: frozenset[int] | None) -> None:
    if versions is not None and item.version not in versions:
        raise PreconditionFailed(f"the item is at version {item.version}")
