"""What can happen to an item. Subject: ``items/N``."""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET, UnsetType, field

from events.record import Event, Number, Personal


class Content(Personal, frozen=True, gc=False):
    """What an item says."""

    title: str
    description: str | None = None


class ContentChanges(Personal, frozen=True, gc=False):
    """The values that changed; the others are left out."""

    title: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class ItemCreated(Event, frozen=True, gc=False):
    """An item came to be; ``owner`` is a user's number.

    ``created_at`` only where that was at another time than the record's.
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
    """An item is gone; its number is never used again."""

    type: ClassVar[str] = "item.deleted"


class ItemRestored(Event, frozen=True, gc=False):
    """An item is back, with the content it had at position ``as_of``."""

    type: ClassVar[str] = "item.restored"
    as_of: Number
    personal: Content | str | None = field(default=None, name="sealed")
