"""The values of a resource at a position, found backwards in its own events."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import UNSET

from events.record import Record
from events.vocabulary.resources import (
    Content,
    Created,
    Deleted,
    Entity,
    Restored,
    Updated,
)
from projections.tables.resources import ResourceTable
from projections.tables.tombstones import Tombstone


class PastValues:
    """The search for the values that a resource had before it changed."""

    def __init__(
        self,
        one: Entity | Tombstone,
        version: int,
        table: ResourceTable,
        wanted: Collection[str] | None,
    ) -> None:
        """``version`` is the position of its last event at that time.

        ``wanted`` names the columns to find; ``None`` for all.
        """
        self._one = one
        self._version = version
        self._table = table
        names = table.resource.names
        self._missing = set(names) if wanted is None else {*names} & {*wanted}
        self._updated_at: Any = None if wanted is None or "updated_at" in wanted else UNSET
        self._values: dict[str, Any] = {}
        self._next = version

    @property
    def is_complete(self) -> bool:
        """Whether all wanted values are known."""
        return not self._missing and self._updated_at is not None

    def next_positions(self, most: int) -> list[int]:
        """The next events to read, newest first; none once the values are complete."""
        found: list[int] = []
        while self._next and len(found) < most and not self.is_complete:
            found.append(self._next)
            self._next = self._table.versions.before(self._next)
        return found

    def add(self, record: Record) -> None:
        """Add the next older record; it is ignored if the values are complete."""
        if self.is_complete:
            return
        if self._updated_at is None:
            self._updated_at = record.time
        event = record.event
        if isinstance(event, Updated):
            self._add(event.personal, event.clear)
        elif isinstance(event, Created | Restored):
            resource = self._table.resource
            self._add(event.personal, event.clear, resource.blank, resource.blank_clear)
        elif isinstance(event, Deleted):
            # Older events do not count: a restoration after the deletion has the whole content.
            self._next = 0

    def _add(self, *parts: object) -> None:
        """Add values that no newer record has set."""
        for part in parts:
            if isinstance(part, Content):
                for name in self._missing.intersection(part.__struct_fields__):
                    value = getattr(part, name)
                    if value is not UNSET:
                        self._values[name] = value
                        self._missing.remove(name)

    def entity(self) -> Entity:
        """The past resource; columns that are not wanted may be `UNSET`."""
        one, resource = self._one, self._table.resource
        found: Entity = resource.entity(
            one.id,
            *[self._values.get(name, UNSET) for name in resource.names],
            one.owner,
            one.created_at,
            self._updated_at,
            self._version,
        )
        return found
