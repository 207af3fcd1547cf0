"""Compare two moments entity by entity, by the lines between them.

The lines between the moments name the entities, and the version index leads from the last one of each
entity to all earlier ones. Only those are decoded and folded, and only for the entities of a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.queries.entity_views import ACCOUNT_COLLECTIONS, EntityView, entity_view
from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.queries.subscriptions import members_of, subject_of
from events.errors import Fault, Invalid
from projections.state import State
from projections.tables.tombstones import Tombstone, last_event

_LINES_PER_TURN: Final = 100_000
"""Lines that one turn of a caller scans."""

_ERASED: Final = b'"user.erased"'

_SortKey = tuple[str, int, str]


class ValueChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value at both moments; left out where the entity does not exist."""

    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class Difference(msgspec.Struct, frozen=True):
    """An entity that is not the same at two moments.

    ``version`` has the positions of its last events. ``fields`` has the values that differ, and
    ``sealed`` the names of those that differ and are not shown. Without ``readable`` the key of the
    sealed values is destroyed: then only values in clear are compared. Of an ``erased`` entity
    nothing but that is known.
    """

    subject: str
    change: Literal["created", "changed", "deleted", "erased"]
    version: ValueChange
    fields: dict[str, ValueChange]
    sealed: list[str]
    readable: bool


class Differences(msgspec.Struct, frozen=True):
    """A page; ``next_after`` is where the next one starts, ``None`` on the last one.

    ``opened`` has the subjects whose sealed values are shown, with the subjects of their users.
    """

    items: Sequence[Difference]
    next_after: str | None
    opened: Mapping[str, str]


class Span(msgspec.Struct, frozen=True):
    """Two moments: after the events at ``start`` and at ``end``, which is not less."""

    start: int
    end: int


class Selection(msgspec.Struct, frozen=True):
    """The entities to compare.

    ``subject`` is a collection or an entity; empty for all. They are sorted by collection, then by number or identifier. A page begins ``after`` a subject, and
    has at most ``limit`` entities.
    """

    subject: str = ""
    after: str = ""
    limit: int = 100

    @property
    def collection(self) -> str:
        """The collection of the subject, or an empty text."""
        return self.subject.partition("/")[0]

    @property
    def is_entity(self) -> bool:
        """Whether only one entity is selected."""
        return "/" in self.subject

    def check(self, state: State) -> None:
        """Raise `Invalid` for a subject that no entity can have."""
        collection, slash, name = self.subject.partition("/")
        known = collections_of(state)
        if self.subject and collection not in known:
            text = f"must be one of these collections, or an entity of one: {', '.join(known)}"
            raise Invalid(Fault("/subject", text, where="query"))
        is_valid = bool(name) if collection == "keys" else _is_number(name)
        if slash and not is_valid:
            text = f"is not an entity of the collection {collection}"
            raise Invalid(Fault("/subject", text, where="query"))


def collections_of(state: State) -> list[str]:
    """The collections whose entities are compared."""
    return sorted({*ACCOUNT_COLLECTIONS, *state.resources})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19 and text[0] != "0"


def _sort_key(subject: str) -> _SortKey:
    collection, _, name = subject.partition("/")
    return collection, int(name) if _is_number(name or "x") else 0, name


async def differences(
    history: History,
    state: State,
    span: Span,
    selection: Selection,
    caller: int,
    *,
    opened: bool,
) -> Differences:
    """A page of what differs between two moments; see `Difference`.

    ``state`` is a later one. Sealed values are shown only if ``opened``. An entity that exists at
    neither moment is left out, so a page may have fewer than the limit. The shares of an erased user,
    and the API keys, end with the user and are no differences of their own. Raises `Overloaded` and
    `Invalid`.
    """
    selection.check(state)
    with history.admit(caller):
        touched = _Touched(state, span, selection)
        if not touched.find_alone():
            for start in range(span.start, span.end, _LINES_PER_TURN):
                async with history.turn(caller):
                    await touched.scan(history, start, min(start + _LINES_PER_TURN, span.end))
            touched.add_erased_resources()
        page, more = touched.page()
        both = await _views(history, state, span, page, caller)
    items: list[Difference] = []
    shown: dict[str, str] = {}
    for subject, (before, after) in both.items():
        entity = after or before or _NOTHING
        readable = not entity.owner or history.has_key(entity.owner)
        erased_at = touched.erased_at(subject, entity.owner)
        was_deleted_first = before is not None and after is None and not _is_key(subject)
        if erased_at is None or was_deleted_first:
            found = _compared(subject, before, after, readable=readable, show=opened and readable)
        else:
            found = _erased(subject, erased_at, existed=before is not None or not page[subject])
        if found is not None:
            items.append(found)
            if not entity.sealed.keys().isdisjoint(found.fields):
                shown[subject] = entity.owner
    return Differences(items, [*page][-1] if more else None, shown)


_NOTHING: Final = EntityView(0, "", {}, {})


def _erased(subject: str, erased_at: int, *, existed: bool) -> Difference | None:
    """The erasure of an entity with its owner, if it existed; never of a key."""
    if not existed or _is_key(subject):
        return None
    version = ValueChange(after=erased_at)
    return Difference(subject, "erased", version, {}, [], readable=False)


def _is_key(subject: str) -> bool:
    return subject.startswith("keys/")


def _compared(
    subject: str,
    before: EntityView | None,
    after: EntityView | None,
    *,
    readable: bool,
    show: bool,
) -> Difference | None:
    if before == after:
        return None
    one, other = before or _NOTHING, after or _NOTHING
    fields = _changes(before, after, one.clear, other.clear)
    changed = _changes(before, after, one.sealed, other.sealed)
    if show:
        fields |= changed
    version = ValueChange(
        UNSET if before is None else before.version, UNSET if after is None else after.version
    )
    change: Literal["created", "changed", "deleted"] = "changed"
    if before is None or after is None:
        change = "created" if before is None else "deleted"
    return Difference(subject, change, version, fields, [] if show else [*changed], readable)


def _changes(
    before: EntityView | None, after: EntityView | None, one: Any, other: Any
) -> dict[str, ValueChange]:
    found: dict[str, ValueChange] = {}
    for name in one | other:
        if before is None:
            found[name] = ValueChange(after=other[name])
        elif after is None:
            found[name] = ValueChange(before=one[name])
        elif _json(one[name]) != _json(other[name]):
            found[name] = ValueChange(one[name], other[name])
    return found


_json: Final = msgspec.json.Encoder(order="deterministic").encode


class _Touched:
    """The entities with lines in a span: the first of them that a page can have.

    ``last`` has the position of the last such line, or 0 if only an erasure is in the span.
    ``erased`` has the position of the erasure of each user, by subject.
    """

    def __init__(self, state: State, span: Span, selection: Selection) -> None:
        self._state = state
        self._span = span
        self._selection = selection
        self._most = selection.limit + 1
        self._beyond = _sort_key(selection.after) if selection.after else None
        self._upto: _SortKey | None = None
        self._collections = frozenset(collections_of(state))
        self.last: dict[str, int] = {}
        self.erased: dict[str, int] = {}

    def find_alone(self) -> bool:
        """Find the one selected entity in the version index, if that is possible.

        Return whether it is. It is not for API keys and webhooks, which may be deleted, nor for resources of erased users,
        whose lines the index no longer has.
        """
        selection, state = self._selection, self._state
        if not selection.is_entity:
            return False
        name = selection.subject.partition("/")[2]
        if selection.collection == "users":
            positions = state.activity.of(int(name))
            user = state.users.by_id.get(int(name))
            if user is not None and user.status == "erased":
                self._on_erased(user.subject, user.version)
        else:
            table = state.resources.get(selection.collection)
            if table is None:
                return False
            found = table.find(int(name))
            if isinstance(found, Tombstone) and not state.resources.versions.before(found.version):
                return False
            positions = [] if found is None else state.resources.versions.of(last_event(found))
        inside = [one for one in positions if self._span.start < one <= self._span.end]
        if inside:
            self._add(selection.subject, inside[-1])
        return True

    async def scan(self, history: History, start: int, end: int) -> None:
        """Find the entities of the lines after a position up to another one."""
        position = start
        async for lines in history.read(start, end):
            for line in lines:
                position += 1
                kind, _, _ = members_of(line)
                if kind == _ERASED:
                    self._on_erased(subject_of(line), position)
                else:
                    self._add(subject_of(line), position)
            await asyncio.sleep(0)

    def _on_erased(self, user: str, position: int) -> None:
        if self._span.start < position <= self._span.end:
            self.erased[user] = position
            self._add(user, self.last.get(user, 0))

    def add_erased_resources(self) -> None:
        """Find the resources that existed until their owner was erased."""
        for collection, table in self._state.resources.items() if self.erased else ():
            if self._selection.collection in {"", collection}:
                for one in table.deleted.values():
                    if self.erased.get(f"users/{one.owner}") == one.version:
                        subject = f"{collection}/{one.id}"
                        self._add(subject, self.last.get(subject, 0))

    def _add(self, subject: str, position: int) -> None:
        if subject in self.last:
            self.last[subject] = position
            return
        collection = subject.partition("/")[0]
        if collection not in self._collections:
            return
        if self._selection.subject not in {"", collection, subject}:
            return
        key = _sort_key(subject)
        if self._beyond is not None and key <= self._beyond:
            return
        if self._upto is not None and key > self._upto:
            return
        self.last[subject] = position
        if len(self.last) > 2 * self._most:
            self._keep_first()

    def _keep_first(self) -> None:
        """Forget the entities that no longer fit the page, and further ones behind them."""
        first = sorted(self.last, key=_sort_key)[: self._most]
        self._upto = _sort_key(first[-1])
        self.last = {subject: self.last[subject] for subject in first}

    def erased_at(self, subject: str, owner: str) -> int | None:
        """The position at which an entity was erased with its owner, if it was.

        Without any line of its own in the span, an entity is there only because it was.
        """
        if owner:
            return self.erased.get(owner)
        collection, _, name = subject.partition("/")
        if self.last[subject] or collection == "users":
            return self.erased.get(subject)
        return self._state.resources[collection].deleted[int(name)].version

    def page(self) -> tuple[dict[str, int], bool]:
        """The entities of the page in order, and whether there are more."""
        first = sorted(self.last, key=_sort_key)
        limit = self._selection.limit
        return {subject: self.last[subject] for subject in first[:limit]}, len(first) > limit


async def _views(
    history: History, state: State, span: Span, page: dict[str, int], caller: int
) -> dict[str, tuple[EntityView | None, EntityView | None]]:
    """Each entity of a page at both moments, folded from its own lines."""
    positions = await _own_positions(history, state, page, caller)
    fold = state.blank()

    def views() -> dict[str, EntityView | None]:
        return {subject: entity_view(fold, subject, is_gone) for subject in page}

    def is_gone(user: int) -> bool:
        found = state.users.by_id.get(user)
        return found is not None and found.status == "erased" and found.version <= span.end

    before: dict[str, EntityView | None] | None = None
    for start in range(0, len(positions), RECORDS_PER_READ):
        async with history.turn(caller):
            records = await history.records(positions[start : start + RECORDS_PER_READ])
        for record in records:
            if before is None and record.position > span.start:
                before = views()
            fold.apply(record)
    after = views()
    before = after if before is None else before
    return {subject: (before[subject], after[subject]) for subject in page}


async def _own_positions(
    history: History, state: State, page: dict[str, int], caller: int
) -> list[int]:
    """The positions of all lines of the entities of a page, up to their last ones."""
    versions = state.resources.versions
    own: set[int] = set()
    mixed: set[int] = set()
    for subject, last in page.items():
        # The index has one chain for the lines of an account: the user, sessions and API keys.
        is_account = subject.startswith(("users/", "keys/"))
        (mixed if is_account else own).update(versions.of(last))
    for some in _slices(sorted(mixed)):
        async with history.turn(caller):
            lines = await history.lines(some)
        own.update(at for at, line in zip(some, lines, strict=True) if subject_of(line) in page)
    return sorted(own)


def _slices(positions: Sequence[int]) -> Iterable[Sequence[int]]:
    for start in range(0, len(positions), 64):
        yield positions[start : start + 64]
