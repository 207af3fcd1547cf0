"""Events about an item. Subject: ``items/N``."""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET, UnsetType, field

from events.record import Event, Number, Personal


class Content(Personal, frozen=True, gc=False):
    """The title and the description of an item."""

    title: str
    description: str | None = None


class ContentChanges(Personal, frozen=True, gc=False):
    """The changed values; unchanged ones are left out."""

    title: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class ItemCreated(Event, frozen=True, gc=False):
    """An item was created; ``owner`` is a user's number.

    ``created_at`` is there only if it differs from the record's time, as after an import.
    """

    type: ClassVar[str] = "item.created"
    owner: Number
    created_at: str | None = None
    personal: Content | str | None = field(default=None, name="sealed")


class ItemUpdated(Event, frozen=True, gc=False):
    """An item's content changed."""

    type: ClassVar[str] = "item.updated"
    personal: ContentChanges | str | None = field(default=None, name="sealed")


class ItemDeleted(Event, frozen=True, gc=False):
    """An item was deleted; its number is never used again."""

    type: ClassVar[str] = "item.deleted"


class ItemRestored(Event, frozen=True, gc=False):
    """A deleted item was restored, with its content at position ``as_of``."""

    type: ClassVar[str] = "item.restored"
    as_of: Number
    personal: Content | str | None = field(default=None, name="sealed")
