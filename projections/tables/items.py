"""The table of items, by number and by owner."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, MutableMapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec
from msgspec import UNSET

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

UNREADABLE = Content(title="")
"""What is left of a content whose key is destroyed."""


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An item as it stands; ``owner`` is a user's number, ``version`` its last event's position."""

    id: int
    title: str
    description: str | None
    owner: int
    created_at: str
    updated_at: str
    version: int


class Tombstone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept of a deleted item: whose it was, and the positions of its life."""

    id: int
    owner: int
    created_at: str
    version: int


class OwnerIndex:
    """The numbers of the items of every owner, ascending."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}

    def __getitem__(self, owner: int) -> Sequence[int]:
        return self._ids.get(owner, ())

    def count(self, owner: int) -> int:
        """How many an owner has."""
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
        """Forget an owner; the numbers that were theirs."""
        return self._ids.pop(owner, ())


class StagedOwnerIndex(OwnerIndex):
    """The index of a draft: a decision never lists, so only erasure reads through."""

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
    """How many bytes of the log the items of every owner take, also those that are deleted."""

    def __init__(self) -> None:
        self.by_owner: dict[int, int] = {}

    def of(self, owner: int) -> int:
        return self.by_owner.get(owner, 0)

    def add(self, owner: int, size: int) -> None:
        self.by_owner[owner] = self.by_owner.get(owner, 0) + size

    def drop(self, owner: int) -> None:
        """Forget an owner."""
        self.by_owner.pop(owner, None)


class StagedLogBytes(LogBytes):
    """Those of a draft: what is added to its base."""

    def __init__(self, base: LogBytes) -> None:
        super().__init__()
        self._base = base

    def of(self, owner: int) -> int:
        return self._base.of(owner) + super().of(owner)

    def drop(self, owner: int) -> None:
        self.by_owner[owner] = -self._base.of(owner)


_SPARE = 1024


class VersionIndex:
    """Of every event of an item the position of the one before it, and what was ever deleted.

    So an item's whole life can be followed backwards from its version, at 8 bytes an event.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._before = array("Q")
        self._before.frombytes(content)
        self._buried: dict[int, set[int]] = {}

    def add(self, position: int, before: int) -> None:
        """Remember what came before the event at a position."""
        try:
            self._before[position] = before
        except IndexError:
            missing = position + position // 8 + _SPARE - len(self._before)
            self._before.frombytes(bytes(missing * self._before.itemsize))
            self._before[position] = before

    def of(self, version: int, *, upto: int | None = None) -> list[int]:
        """The positions of an item's events up to a version, oldest first; none beyond ``upto``."""
        positions = []
        while version:
            if upto is None or version <= upto:
                positions.append(version)
            version = self._before[version] if version < len(self._before) else 0
        positions.reverse()
        return positions

    def mark_deleted(self, owner: int, number: int) -> None:
        """Remember that an item was deleted, be it restored or not."""
        self._buried.setdefault(owner, set()).add(number)

    def ever_deleted(self, owner: int) -> AbstractSet[int]:
        """The items of an owner that were ever deleted."""
        return self._buried.get(owner, frozenset())

    def forget(self, owner: int) -> None:
        """Forget whose they were."""
        self._buried.pop(owner, None)

    def __bytes__(self) -> bytes:
        return self._before.tobytes()


class StagedVersionIndex(VersionIndex):
    """Those of a draft, which nobody asks for."""

    def add(self, position: int, before: int) -> None:
        """Remember nothing."""

    def bury(self, owner: int, number: int) -> None:
        """Remember nothing."""


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
        self.lives = lives
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
        """An item, or what is left of it."""
        return self.by_id.get(number) or self.deleted.get(number)

    def all_of_owner(self, owner: int) -> list[Item | Tombstone]:
        """All that an owner has ever made, by number, or what is left of it."""
        numbers = sorted(self.lives.ever_deleted(owner) | set(self.by_owner[owner]))
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
        self.lives.add(record.position, item.version)
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
            self.lives.add(record.position, item.version)
            self._mark_deleted(item, record.position)

    def _mark_deleted(self, item: Item, position: int) -> None:
        del self.by_id[item.id]
        self.deleted[item.id] = Tombstone(item.id, item.owner, item.created_at, position)
        self.lives.mark_deleted(item.owner, item.id)

    def on_restored(self, record: Record, event: ItemRestored) -> Item | None:
        content = event.personal if isinstance(event.personal, Content) else UNREADABLE
        number = entity_number(record.subject)
        before = self.find(number)
        if before is None:
            return None
        self.lives.add(record.position, before.version)
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
        """Delete everything an owner has."""
        for number in self.by_owner.drop(owner):
            item = self.by_id.get(number)
            if item is not None and item.owner == owner:
                self._mark_deleted(item, position)
        self.lives.forget(owner)
        self.log_bytes.drop(owner)

    def digest_lines(self) -> Iterator[str]:
        """What of the table needs no key, a line an item, by number."""
        for number in sorted([*self.by_id, *self.deleted]):
            item = self.by_id.get(number)
            if item is not None:
                yield f"items/{number} live {item.owner} {item.version}"
            else:
                tombstone = self.deleted[number]
                yield f"items/{number} deleted {tombstone.owner} {tombstone.version}"
