"""The tables of all kinds of resources, by collection, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from copy import copy

import msgspec
from msgspec import Raw

from events.record import Record
from events.vocabulary.resources import Entity, ResourceEvent, ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from projections.copy_on_write import CopyOnWriteDict
from projections.tables.indexes import LogBytes, StagedLogBytes, StagedVersionIndex, VersionIndex
from projections.tables.resources import ResourceTable, SharedRows


class _Shared(msgspec.Struct, array_like=True, frozen=True):
    """The part of a snapshot that is about all kinds together."""

    versions: bytes
    log_bytes: dict[int, int]
    schemas: dict[str, list[SchemaDeclared]]
    places: dict[str, str]
    tables: dict[str, SharedRows]


_decode_shared = msgspec.msgpack.Decoder(_Shared).decode
_decode_rows = msgspec.msgpack.Decoder(dict[str, Raw]).decode


class Collections(Mapping[str, ResourceTable]):
    """The tables by collection; iterates in alphabetical order.

    There is a table for each kind of the vocabulary, and for each other kind that the log declares:
    of those only the verbs are known. ``schemas`` has the declarations of each kind, by version,
    and ``places`` the collection in which a kind is declared.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.versions = VersionIndex()
        self.log_bytes = LogBytes()
        self.schemas: MutableMapping[str, Sequence[SchemaDeclared]] = {}
        self.places: MutableMapping[str, str] = {}
        self._tables: dict[str, ResourceTable] = {}
        self._base: Collections | None = None
        for resource in vocabulary.resources:
            self._add(resource.collection, resource)

    def _add(self, collection: str, resource: ResourceType) -> None:
        self._tables[collection] = ResourceTable(collection, resource, self.versions)

    def stage(self) -> Collections:
        """A copy-on-write copy; it copies a table when that is first used."""
        draft = Collections.__new__(Collections)
        draft.vocabulary = self.vocabulary
        draft.versions = StagedVersionIndex()
        draft.log_bytes = StagedLogBytes(self.log_bytes)
        draft.schemas = CopyOnWriteDict(self.schemas)
        draft.places = CopyOnWriteDict(self.places)
        draft._tables = {}
        draft._base = self
        return draft

    def frozen(self) -> Collections:
        """A copy that does not change with this one; it shares the resources."""
        copied = copy(self)
        copied._tables = {collection: self[collection].frozen() for collection in self}
        return copied

    def blank(self) -> Collections:
        """The same kinds without any resource."""
        blank = Collections(self.vocabulary)
        for collection in self:
            if collection not in blank:
                blank._add(collection, self[collection].resource)
        blank.schemas, blank.places = dict(self.schemas), dict(self.places)
        return blank

    def __getitem__(self, collection: str) -> ResourceTable:
        table = self._tables.get(collection)
        if table is None:
            if self._base is None:
                raise KeyError(collection)
            table = self._tables[collection] = self._base[collection].stage(self.versions)
        return table

    def __iter__(self) -> Iterator[str]:
        yield from sorted({*self._tables, *(self._base or ())})

    def __len__(self) -> int:
        return len({*self._tables, *(self._base or ())})

    def schema(self, kind: str) -> SchemaDeclared | None:
        """The declaration of a kind that is in force."""
        declared = self.schemas.get(kind)
        return declared[-1] if declared else None

    @property
    def unknown_kinds(self) -> list[str]:
        """The kinds in the log of which only the verbs are known."""
        return sorted(self.schemas.keys() - self.vocabulary.kinds.keys())

    def count(self, owner: int) -> int:
        """The number of live resources of an owner, of all kinds."""
        return sum(self[collection].by_owner.count(owner) for collection in self)

    def apply(self, record: Record, event: ResourceEvent) -> Entity | None:
        """Apply a record about a resource; an undeclared kind changes nothing."""
        collection, _, number = record.subject.partition("/")
        table = self._tables.get(collection) or self.get(collection)
        return None if table is None else table.apply(int(number), record, event)

    def on_declared(self, record: Record, event: SchemaDeclared) -> None:
        """Note the declaration of a kind; from here on one that contradicts it is foreign."""
        collection = record.subject.partition("/")[2]
        self.schemas[event.kind] = (*self.schemas.get(event.kind, ()), event)
        self.places[event.kind] = collection
        before, self.vocabulary = self.vocabulary, self.vocabulary.after(event, collection)
        for resource in before.resources:
            if resource.kind not in self.vocabulary.kinds:
                self[resource.collection].forget_values(self.vocabulary.foreign(resource.kind))
        if event.kind in self.vocabulary.kinds:
            return
        foreign = self.vocabulary.foreign(event.kind)
        if collection in self:
            self[collection].forget_values(foreign)
        else:
            self._add(collection, foreign)

    def erase_user(self, user: int, position: int) -> None:
        """Delete all resources of a user, and everything that is shared with the user."""
        for collection in self:
            self[collection].erase_user(user, position)
        self.log_bytes.drop(user)

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The resources of one owner, for a snapshot; see `Table`."""
        exports = {
            collection: self[collection].export_owner(owner)
            for collection in self
            if self[collection].by_owner.count(owner)
        }
        return (
            {collection: public for collection, (public, _) in exports.items()},
            {collection: personal for collection, (_, personal) in exports.items()},
        )

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the resources of one owner from a snapshot; see `Table`."""
        sealed = {} if personal is None else _decode_rows(personal)
        for collection, rows in _decode_rows(public).items():
            self[collection].load_owner(owner, rows, sealed.get(collection))

    def export_shared(self) -> object:
        """What no single user owns, for a snapshot; see `Table`."""
        return _Shared(
            bytes(self.versions),
            self.log_bytes.by_owner,
            {kind: list(declared) for kind, declared in self.schemas.items()},
            dict(self.places),
            {collection: self[collection].export_shared() for collection in self},
        )

    def load_shared(self, content: Raw) -> None:
        """Add what no single user owns from a snapshot; see `Table`."""
        shared = _decode_shared(content)
        self.versions = VersionIndex(shared.versions)
        self.log_bytes.by_owner.update(shared.log_bytes)
        self.schemas, self.places = dict(shared.schemas), dict(shared.places)
        for kind, declared in shared.schemas.items():
            for event in declared:
                self.vocabulary = self.vocabulary.after(event, shared.places[kind])
        for collection, rows in shared.tables.items():
            known = self.vocabulary.collections.get(collection)
            self._add(collection, known or self.vocabulary.foreign(rows.kind))
            self[collection].load_shared(rows)

    def finish_load(self) -> None:
        """Nothing; see `Table`."""

    def digest_lines(self) -> Iterator[str]:
        """The public content of the tables, by collection."""
        for collection in self:
            yield from self[collection].digest_lines()
