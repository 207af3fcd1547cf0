"""The resources of one kind, by number, by owner and by unique values."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Hashable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from copy import copy
from functools import cached_property
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple, replace

from events.record import Record
from events.vocabulary.resources import (
    Created,
    Deleted,
    Entity,
    ResourceEvent,
    ResourceType,
    Restored,
    Shared,
    Unshared,
    Updated,
)
from projections.copy_on_write import CopyOnWriteDict, CopyOnWriteSet
from projections.tables.indexes import NumberIndex, OwnerIndex, StagedOwnerIndex, VersionIndex
from projections.tables.tombstones import Tombstone, last_event

UniqueKey = tuple[int, int, tuple[Hashable, ...]]
"""The number of a rule, the owner or 0 for all owners, and the values."""


class SharedRows(msgspec.Struct, array_like=True, frozen=True):
    """The part of a snapshot that is about all resources of a kind together."""

    kind: str
    last_id: int
    deleted: list[Tombstone]
    shares: dict[int, dict[int, str]]


class ResourceTable:
    """Live resources of one kind by number; of deleted ones only tombstones."""

    def __init__(self, collection: str, resource: ResourceType, versions: VersionIndex) -> None:
        """``versions`` is the index of all kinds."""
        self.collection = collection
        self.resource = resource
        self.by_id: MutableMapping[int, Entity] = {}
        self.deleted: MutableMapping[int, Tombstone] = {}
        self.by_owner = OwnerIndex()
        self.versions = versions
        self.unique: MutableMapping[UniqueKey, int] = {}
        self.shares: MutableMapping[int, MutableMapping[int, str]] = {}
        """By number, the users that a resource is shared with, and what they can do."""
        self.shared_with: MutableMapping[int, MutableSet[int]] = {}
        """By user, the numbers of the resources that are shared with them."""
        self.changed_at: dict[int, int] = {}
        """By owner, the position of the last event of their resources; by 0, the last of all."""
        self.unshared_at: dict[int, int] = {}
        """By user, the position at which this process last saw a share of theirs end."""
        self.staged_deletions: dict[int, Entity] = {}
        """In a staged copy, the resources that were deleted in it, as they were before."""
        self.last_id = 0
        self._numbers = NumberIndex()
        self._unreadable: set[int] = set()
        self._ever_deleted: dict[int, set[int]] = {}
        self._base: ResourceTable | None = None

    def stage(self, versions: VersionIndex) -> ResourceTable:
        """A copy-on-write copy."""
        draft = ResourceTable(self.collection, self.resource, versions)
        draft.by_id = CopyOnWriteDict(self.by_id)
        draft.deleted = CopyOnWriteDict(self.deleted)
        draft.by_owner = StagedOwnerIndex(self.by_owner)
        draft.unique = CopyOnWriteDict(self.unique)
        draft.shares = CopyOnWriteDict(self.shares, CopyOnWriteDict)
        draft.shared_with = CopyOnWriteDict(self.shared_with, CopyOnWriteSet)
        draft.last_id = self.last_id
        draft._base = self
        return draft

    def frozen(self) -> ResourceTable:
        """A copy that does not change with this one, as far as the digest reads it."""
        copied = copy(self)
        copied.by_id, copied.deleted = dict(self.by_id), dict(self.deleted)
        return copied

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the live resources, ascending."""
        return self._numbers.of(self.by_id)

    def find(self, number: int) -> Entity | Tombstone | None:
        """A resource or its tombstone."""
        return self.by_id.get(number) or self.deleted.get(number)

    def all_of_owner(self, owner: int) -> list[Entity | Tombstone]:
        """All resources that an owner ever had, or their tombstones, by number."""
        numbers = sorted(self.ever_deleted(owner) | set(self.by_owner[owner]))
        return [found for number in numbers if (found := self.find(number)) is not None]

    def ever_deleted(self, owner: int) -> AbstractSet[int]:
        """The numbers of an owner's resources that were ever deleted, also if restored."""
        here: AbstractSet[int] = self._ever_deleted.get(owner, frozenset())
        if self._base is None:
            return here
        return here | self._base.ever_deleted(owner)

    def is_used(self, number: int) -> bool:
        """Whether a resource of that number exists or existed."""
        return self.find(number) is not None

    def version_at(self, one: Entity | Tombstone, position: int) -> int:
        """The version that a resource had at a position; 0 if it did not exist.

        Its owner must not be erased.
        """
        if one.version <= position:
            return one.version if isinstance(one, Entity) else 0
        return self.versions.at(one.version, position)

    def validator(self, owner: int) -> int:
        """Differs once a live resource of an owner has changed; with 0, one of any owner."""
        return self.changed_at.get(owner, 0)

    def unique_keys(self, entity: Entity) -> Iterator[UniqueKey]:
        """The keys of a resource's unique values; a value that is ``None`` makes none."""
        for index, rule in enumerate(self.resource.unique):
            values = tuple(getattr(entity, name) for name in rule.fields)
            if None not in values:
                yield index, 0 if rule.is_global else entity.owner, values

    def forget_values(self, foreign: ResourceType) -> None:
        """Keep only what the verbs say, because this code cannot read the kind any more."""
        self.resource = foreign
        for number, one in list(self.by_id.items()):
            self.by_id[number] = foreign.entity(
                number, one.owner, one.created_at, one.updated_at, one.version
            )
        self.unique.clear()
        for name in ("_public_values", "_decode_public", "_decode_personal"):
            self.__dict__.pop(name, None)

    def apply(self, number: int, record: Record, event: ResourceEvent) -> Entity | None:
        """Apply one record about the resource of this kind and ``number``."""
        entity = _ON[event.verb](self, number, record, event)
        found = entity or self.find(number)
        if found is not None:
            self.changed_at[found.owner] = self.changed_at[0] = record.position
        return entity

    def on_created(self, number: int, record: Record, event: Created) -> Entity:
        entity: Entity = self.resource.entity(
            number,
            *self._content(event),
            event.owner,
            event.created_at or record.time,
            record.time,
            record.position,
        )
        self._put(entity, event)
        self._numbers.add(number)
        self.by_owner.add(entity.owner, number)
        self.last_id = max(self.last_id, number)
        return entity

    def _content(self, event: Created | Restored) -> tuple[Any, ...]:
        """The values of a content in the entity's order; blank without a key."""
        kind = self.resource
        personal = event.personal if isinstance(event.personal, kind.content) else kind.blank
        if not kind.clear:
            return astuple(personal)
        clear = event.clear if isinstance(event.clear, kind.clear_content) else kind.blank_clear
        return astuple(personal) + astuple(clear)

    def _put(self, entity: Entity, event: Created | Restored | None = None) -> None:
        """Set the current values of a resource, whose whole content the event has, if any."""
        if self.resource.unique:
            self._index(entity, event)
        self.by_id[entity.id] = entity

    def _index(self, entity: Entity, event: Created | Restored | None) -> None:
        """Take the unique values of a resource; a blank value is not unique."""
        number, kind = entity.id, self.resource
        if event is not None:
            if kind.sealed and not isinstance(event.personal, kind.content):
                self._unreadable.add(number)
            else:
                self._unreadable.discard(number)
        if number not in self._unreadable:
            before = self.by_id.get(number)
            if before is not None:
                self._release(before)
            for key in self.unique_keys(entity):
                self.unique[key] = number

    def _release(self, entity: Entity) -> None:
        """Give the unique values of a resource free."""
        for key in self.unique_keys(entity):
            if self.unique.get(key) == entity.id:
                del self.unique[key]

    def on_updated(self, number: int, record: Record, event: Updated) -> Entity | None:
        before = self.by_id.get(number)
        if before is None:
            return None
        self.versions.add(record.position, before.version)
        kind = self.resource
        sealed = event.personal if isinstance(event.personal, kind.changes) else kind.unchanged
        clear = event.clear if isinstance(event.clear, kind.clear_changes) else kind.unchanged_clear
        entity: Entity = kind.merge(before, sealed, clear, record.time, record.position)
        self._put(entity)
        return entity

    def on_deleted(self, number: int, record: Record, _: Deleted) -> None:
        entity = self.by_id.get(number)
        if entity is not None:
            self.by_owner.remove(entity.owner, number)
            self._numbers.remove(number)
            self.versions.add(record.position, entity.version, is_deleted=True)
            self._bury(entity, record.position)

    def _bury(self, entity: Entity, position: int) -> None:
        """Leave only a tombstone of a resource."""
        self._release(entity)
        if self._base is not None:
            self.staged_deletions[entity.id] = entity
        del self.by_id[entity.id]
        self.deleted[entity.id] = Tombstone(entity.id, entity.owner, entity.created_at, position)
        self._ever_deleted.setdefault(entity.owner, set()).add(entity.id)

    def on_restored(self, number: int, record: Record, event: Restored) -> Entity | None:
        before = self.find(number)
        if before is None:
            return None
        self.versions.add(record.position, last_event(before))
        if self.deleted.pop(number, None):
            self.by_owner.add(before.owner, number)
            self._numbers.add(number)
        entity: Entity = self.resource.entity(
            number,
            *self._content(event),
            before.owner,
            before.created_at,
            record.time,
            record.position,
        )
        self._put(entity, event)
        return entity

    def on_shared(self, number: int, record: Record, event: Shared) -> Entity | None:
        entity = self._touch(number, record)
        if entity is not None:
            self.shares.setdefault(entity.id, {})[event.user] = event.can
            self.shared_with.setdefault(event.user, set()).add(entity.id)
        return entity

    def on_unshared(self, number: int, record: Record, event: Unshared) -> Entity | None:
        """Take a share back, also one of a deleted resource, whose version stays."""
        self._unshare(number, event.user)
        self.unshared_at[event.user] = record.position
        tombstone = self.deleted.get(number)
        if tombstone is not None:
            self.versions.add(record.position, last_event(tombstone), is_deleted=True)
            self.deleted[number] = replace(tombstone, unshared_at=record.position)
        return self._touch(number, record)

    def _touch(self, number: int, record: Record) -> Entity | None:
        """Give a resource a new version with the same content."""
        before = self.by_id.get(number)
        if before is None:
            return None
        self.versions.add(record.position, before.version)
        entity = replace(before, updated_at=record.time, version=record.position)
        self._put(entity)
        return entity

    def _unshare(self, number: int, user: int) -> None:
        users, numbers = self.shares.get(number), self.shared_with.get(user)
        if users is None or numbers is None:
            return
        users.pop(user, None)
        numbers.discard(number)
        if not users:
            del self.shares[number]
        if not numbers:
            del self.shared_with[user]

    def erase_user(self, user: int, position: int) -> None:
        """Delete all resources of a user, and everything that is shared with the user."""
        for one in self.all_of_owner(user):
            for other in list(self.shares.get(one.id, ())):
                self._unshare(one.id, other)
        for number in self.by_owner.drop(user):
            entity = self.by_id.get(number)
            if entity is not None and entity.owner == user:
                self._bury(entity, position)
        for number in list(self.shared_with.get(user, ())):
            self._unshare(number, user)
        self._ever_deleted.pop(user, None)
        self._numbers.reset()
        self.changed_at[user] = self.changed_at[0] = position

    @cached_property
    def _public_values(self) -> Callable[[Entity], Any]:
        clear = (field.name for field in self.resource.clear)
        return attrgetter("id", "created_at", "updated_at", "version", *clear)

    @cached_property
    def _decode_public(self) -> Callable[[Raw], Any]:
        return _rows_decoder([int, str, str, int, *(field.type for field in self.resource.clear)])

    def _personal_values(self, entity: Entity) -> tuple[Any, ...]:
        return tuple(getattr(entity, field.name) for field in self.resource.sealed)

    @cached_property
    def _decode_personal(self) -> Callable[[Raw], Any]:
        return _rows_decoder([field.type for field in self.resource.sealed])

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The resources of one owner, for a snapshot; see `Table`."""
        entities = [self.by_id[number] for number in self.by_owner[owner]]
        return [*map(self._public_values, entities)], [*map(self._personal_values, entities)]

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the resources of one owner from a snapshot; see `Table`."""
        rows = self._decode_public(public)
        blank = astuple(self.resource.blank)
        texts = [blank] * len(rows) if personal is None else self._decode_personal(personal)
        new, put, add = self.resource.entity, self._put, self.by_owner.add
        for (number, created, updated, version, *clear), sealed in zip(rows, texts, strict=True):
            if updated == created:
                updated = created  # noqa: PLW2901 - one string for both saves memory
            if personal is None and self.resource.sealed:
                self._unreadable.add(number)
            put(new(number, *sealed, *clear, owner, created, updated, version))
            add(owner, number)

    def export_shared(self) -> SharedRows:
        """Tombstones and shares, for a snapshot; see `Table`."""
        shares = {number: dict(users) for number, users in self.shares.items()}
        tombstones = list(self.deleted.values())
        return SharedRows(self.resource.kind, self.last_id, tombstones, shares)

    def load_shared(self, shared: SharedRows) -> None:
        """Add tombstones and shares from a snapshot; see `Table`."""
        self.last_id = shared.last_id
        for tombstone in shared.deleted:
            self.deleted[tombstone.id] = tombstone
            self._ever_deleted.setdefault(tombstone.owner, set()).add(tombstone.id)
        for number, users in shared.shares.items():
            self.shares[number] = users
            for user in users:
                self.shared_with.setdefault(user, set()).add(number)

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each resource, by number."""
        name = self.collection
        for number in sorted([*self.by_id, *self.deleted]):
            entity = self.by_id.get(number)
            if entity is not None:
                yield f"{name}/{number} live {entity.owner} {entity.version}"
            else:
                tombstone = self.deleted[number]
                yield f"{name}/{number} deleted {tombstone.owner} {tombstone.version}"


_ON: Final[Mapping[str, Callable[[ResourceTable, int, Record, Any], Entity | None]]] = {
    "created": ResourceTable.on_created,
    "updated": ResourceTable.on_updated,
    "acted": ResourceTable.on_updated,
    "deleted": ResourceTable.on_deleted,
    "restored": ResourceTable.on_restored,
    "shared": ResourceTable.on_shared,
    "unshared": ResourceTable.on_unshared,
}


def _rows_decoder(types: Sequence[Any]) -> Callable[[Raw], Any]:
    row: Any = tuple.__class_getitem__(tuple(types))
    rows: Any = list.__class_getitem__(row)
    return msgspec.msgpack.Decoder(rows).decode
