"""The kinds of resources that events and commands are about, and their vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from eventapi.resources.declaration import Resource
from eventapi.resources.declared import Contents, Declared, declare
from eventapi.resources.items import Item
from eventapi.testing.items import ITEM, ITEMS
from events.record import Event
from events.vocabulary.resources import ResourceEvent, ResourceType
from events.vocabulary.vocabulary import Vocabulary

Kind = type[Resource] | Declared
"""A declared class, or what `declare` or a `Registry` made of it."""


def declared_of(kind: Kind) -> Declared:
    """The declaration of a class; the same object for each call with that class."""
    if isinstance(kind, Declared):
        return kind
    return ITEM if kind is Item else _declared(kind)


# A test needs one object for a class, because the events of two are different types.
@lru_cache(256)
def _declared(cls: type[Resource]) -> Declared:
    return declare(cls)


def vocabulary_of(events: Iterable[Event], *others: ResourceType) -> Vocabulary:
    """A vocabulary with the kinds of these events, with ``others``, and with items.

    Raises `ValueError` if two declarations have the same kind.
    """
    kinds: dict[str, ResourceType] = {}
    found = {event.resource for event in events if isinstance(event, ResourceEvent)}
    for resource in (*found, *others):
        if resource.foreign:
            continue
        if kinds.setdefault(resource.kind, resource) is not resource:
            raise ValueError(
                f"there are two declarations of {resource.kind!r}; use the class everywhere, or the "
                "same Registry everywhere"
            )
    kinds.setdefault(ITEM.kind, ITEM.type)
    return _vocabulary(frozenset(kinds.values()))


@lru_cache(64)
def _vocabulary(kinds: frozenset[ResourceType]) -> Vocabulary:
    return ITEMS if kinds == {ITEM.type} else Vocabulary(kinds)


def parts_of(contents: Contents) -> dict[str, Any]:
    """The two contents as members of an event."""
    sealed, clear = contents
    return {"personal": sealed, "clear": clear}
