"""The table of items, by number and by owner."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from events.record import Record, entity_number
from events.vocabulary.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from projections.copy_on_write import CopyOnWriteDict

UNREADABLE: Final = Content(title="")
"""Replaces a content whose key is destroyed."""


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of an item.

    ``owner`` is a user's number, ``version`` the position of the item's last event.
    """

    id: int
    title: str
    description: str | None
    owner: int
    created_at: str
    updated_at: str
    version: int


class Tombstone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The rest of a deleted item: its owner, and the position of its last event."""

    id: int
    owner: int
    created_at: str
    version: int


_public_values: Final = attrgetter("id", "created_at", "updated_at", "version")
_personal_values: Final = attrgetter("title", "description")
_decode_public: Final = msgspec.msgpack.Decoder(list[tuple[int, str, str, int]]).decode
_decode_personal: Final = msgspec.msgpack.Decoder(list[tuple[str, str | None]]).decode


class _Shared(msgspec.Struct, array_like=True, frozen=True):
    """The part of a snapshot that is about all items together."""

    last_id: int
    deleted: list[Tombstone]
    lives: bytes
    log_bytes: dict[int, int]


_decode_shared: Final = msgspec.msgpack.Decoder(_Shared).decode


class OwnerIndex:
    """The numbers of the items of every owner, ascending."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}

    def __getitem__(self, owner: int) -> Sequence[int]:
        return self._ids.get(owner, ())

    def count(self, owner: int) -> int:
        """The number of items of an owner."""
        return len(self._ids.get(owner, ()))

    def add(self, owner: int, item: int) -> None:
        ids = self._ids.get(owner)
        if ids is None:
            self._ids[owner] = [item]
        elif item > ids[-1]:
            ids.append(item)
        else:
            insort(ids, item)

    def remove(self, owner: int, item: int) -> None:
        ids = self._ids[owner]
        del ids[bisect_left(ids, item)]
        if not ids:
            del self._ids[owner]

    def drop(self, owner: int) -> Sequence[int]:
        """Remove an owner, and return the numbers of the owner's items."""
        return self._ids.pop(owner, ())


class StagedOwnerIndex(OwnerIndex):
    """The staged index. Only an erasure reads the base; no decision lists items."""

    def __init__(self, base: OwnerIndex) -> None:
        super().__init__()
        self._base = base
        self._removed: dict[int, int] = {}

    def __getitem__(self, owner: int) -> Sequence[int]:
        return [*self._base[owner], *super().__getitem__(owner)]

    def count(self, owner: int) -> int:
        return self._base.count(owner) + super().count(owner) - self._removed.get(owner, 0)

    def remove(self, owner: int, item: int) -> None:
        if item in self._ids.get(owner, ()):
            super().remove(owner, item)
        else:
            self._removed[owner] = self._removed.get(owner, 0) + 1

    def drop(self, owner: int) -> Sequence[int]:
        self._removed[owner] = self._base.count(owner)
        return [*self._base[owner], *super().drop(owner)]


class LogBytes:
    """Bytes of each owner's lines in the log, including lines of deleted items."""

    def __init__(self) -> None:
        self.by_owner: dict[int, int] = {}

    def of(self, owner: int) -> int:
        return self.by_owner.get(owner, 0)

    def add(self, owner: int, size: int) -> None:
        self.by_owner[owner] = self.by_owner.get(owner, 0) + size

    def drop(self, owner: int) -> None:
        """Remove an owner."""
        self.by_owner.pop(owner, None)


class StagedLogBytes(LogBytes):
    """The staged sizes: the differences from the base."""

    def __init__(self, base: LogBytes) -> None:
        super().__init__()
        self._base = base

    def of(self, owner: int) -> int:
        return self._base.of(owner) + super().of(owner)

    def drop(self, owner: int) -> None:
        self.by_owner[owner] = -self._base.of(owner)


_SPARE = 1024


class VersionIndex:
    """For each event of an item, the position of that item's previous event.

    So an item's whole history can be followed backwards from its version, at 8 bytes an event. The
    index also has the numbers of the items that an owner ever deleted.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._before = array("Q")
        self._before.frombytes(content)
        self._deleted: dict[int, set[int]] = {}

    def add(self, position: int, before: int) -> None:
        """Set the position of the event before the one at a position; 0 for the first."""
        try:
            self._before[position] = before
        except IndexError:
            missing = position + position // 8 + _SPARE - len(self._before)
            self._before.frombytes(bytes(missing * self._before.itemsize))
            self._before[position] = before

    def of(self, version: int, *, upto: int | None = None) -> list[int]:
        """The positions of an item's events up to a version, oldest first.

        Positions beyond ``upto`` are left out.
        """
        positions = []
        while version:
            if upto is None or version <= upto:
                positions.append(version)
            version = self._before[version] if version < len(self._before) else 0
        positions.reverse()
        return positions

    def mark_deleted(self, owner: int, number: int) -> None:
        """Mark an item as deleted at least once."""
        self._deleted.setdefault(owner, set()).add(number)

    def ever_deleted(self, owner: int) -> AbstractSet[int]:
        """The numbers of an owner's items that were ever deleted, restored ones included."""
        return self._deleted.get(owner, frozenset())

    def forget(self, owner: int) -> None:
        """Remove an owner's deleted items."""
        self._deleted.pop(owner, None)

    def __bytes__(self) -> bytes:
        return self._before.tobytes()


class StagedVersionIndex(VersionIndex):
    """The staged index, which stays empty because no decision reads it."""

    def add(self, position: int, before: int) -> None:
        """Do nothing."""

    def mark_deleted(self, owner: int, number: int) -> None:
        """Do nothing."""


class Items:
    """Live items by number; of deleted ones only tombstones."""

    def __init__(
        self,
        by_id: MutableMapping[int, Item],
        deleted: MutableMapping[int, Tombstone],
        by_owner: OwnerIndex,
        lives: VersionIndex,
        log_bytes: LogBytes,
        *,
        last_id: int = 0,
    ) -> None:
        self.by_id = by_id
        self.deleted = deleted
        self.by_owner = by_owner
        self.versions = lives
        self.log_bytes = log_bytes
        self.last_id = last_id

    @classmethod
    def empty(cls) -> Items:
        """No items."""
        return cls({}, {}, OwnerIndex(), VersionIndex(), LogBytes())

    def stage(self) -> Items:
        """A copy-on-write copy."""
        return Items(
            CopyOnWriteDict(self.by_id),
            CopyOnWriteDict(self.deleted),
            StagedOwnerIndex(self.by_owner),
            StagedVersionIndex(),
            StagedLogBytes(self.log_bytes),
            last_id=self.last_id,
        )

    def find(self, number: int) -> Item | Tombstone | None:
        """An item or its tombstone."""
        return self.by_id.get(number) or self.deleted.get(number)

    def all_of_owner(self, owner: int) -> list[Item | Tombstone]:
        """All items that an owner ever had, or their tombstones, by number."""
        numbers = sorted(self.versions.ever_deleted(owner) | set(self.by_owner[owner]))
        return [item for number in numbers if (item := self.find(number)) is not None]

    def is_used(self, number: int) -> bool:
        """Whether an item of that number exists or existed."""
        return self.find(number) is not None

    def on_created(self, record: Record, event: ItemCreated) -> Item:
        content = event.personal if isinstance(event.personal, Content) else UNREADABLE
        item = Item(
            entity_number(record.subject),
            content.title,
            content.description,
            event.owner,
            event.created_at or record.time,
            record.time,
            record.position,
        )
        self.by_id[item.id] = item
        self.by_owner.add(item.owner, item.id)
        self.last_id = max(self.last_id, item.id)
        return item

    def on_updated(self, record: Record, event: ItemUpdated) -> Item | None:
        changes = event.personal if isinstance(event.personal, ContentChanges) else ContentChanges()
        item = self.by_id.get(entity_number(record.subject))
        if item is None:
            return None
        self.versions.add(record.position, item.version)
        item = Item(
            item.id,
            item.title if changes.title is UNSET else changes.title,
            item.description if changes.description is UNSET else changes.description,
            item.owner,
            item.created_at,
            record.time,
            record.position,
        )
        self.by_id[item.id] = item
        return item

    def on_deleted(self, record: Record, _: ItemDeleted) -> None:
        item = self.by_id.get(entity_number(record.subject))
        if item is not None:
            self.by_owner.remove(item.owner, item.id)
            self.versions.add(record.position, item.version)
            self._mark_deleted(item, record.position)

    def _mark_deleted(self, item: Item, position: int) -> None:
        del self.by_id[item.id]
        self.deleted[item.id] = Tombstone(item.id, item.owner, item.created_at, position)
        self.versions.mark_deleted(item.owner, item.id)

    def on_restored(self, record: Record, event: ItemRestored) -> Item | None:
        content = event.personal if isinstance(event.personal, Content) else UNREADABLE
        number = entity_number(record.subject)
        before = self.find(number)
        if before is None:
            return None
        self.versions.add(record.position, before.version)
        if self.deleted.pop(number, None):
            self.by_owner.add(before.owner, number)
        item = Item(
            number,
            content.title,
            content.description,
            before.owner,
            before.created_at,
            record.time,
            record.position,
        )
        self.by_id[number] = item
        return item

    def erase_owner(self, owner: int, position: int) -> None:
        """Delete all items of an owner."""
        for number in self.by_owner.drop(owner):
            item = self.by_id.get(number)
            if item is not None and item.owner == owner:
                self._mark_deleted(item, position)
        self.versions.forget(owner)
        self.log_bytes.drop(owner)

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The items of one owner, for a snapshot; see `Table`."""
        items = [self.by_id[number] for number in self.by_owner[owner]]
        return [*map(_public_values, items)], [*map(_personal_values, items)]

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the items of one owner from a snapshot; see `Table`."""
        rows = _decode_public(public)
        texts = [("", None)] * len(rows) if personal is None else _decode_personal(personal)
        by_id, add = self.by_id, self.by_owner.add
        for (number, created, updated, version), (title, description) in zip(
            rows, texts, strict=True
        ):
            if updated == created:
                updated = created  # noqa: PLW2901 - one string for both saves memory
            by_id[number] = Item(number, title, description, owner, created, updated, version)
            add(owner, number)

    def export_shared(self) -> object:
        """Tombstones, versions and sizes, for a snapshot; see `Table`."""
        return _Shared(
            self.last_id,
            list(self.deleted.values()),
            bytes(self.versions),
            self.log_bytes.by_owner,
        )

    def load_shared(self, content: Raw) -> None:
        """Add tombstones, versions and sizes from a snapshot; see `Table`."""
        shared = _decode_shared(content)
        self.last_id = shared.last_id
        self.versions = VersionIndex(shared.lives)
        self.log_bytes.by_owner.update(shared.log_bytes)
        for tombstone in shared.deleted:
            self.deleted[tombstone.id] = tombstone
            self.versions.mark_deleted(tombstone.owner, tombstone.id)

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each item, by number."""
        for number in sorted([*self.by_id, *self.deleted]):
            item = self.by_id.get(number)
            if item is not None:
                yield f"items/{number} live {item.owner} {item.version}"
            else:
                tombstone = self.deleted[number]
                yield f"items/{number} deleted {tombstone.owner} {tombstone.version}"
