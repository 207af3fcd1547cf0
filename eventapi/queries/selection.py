"""Selections of a list: which resources, in which order, and from where on.

A selection works on the current resources and on past ones alike, because it sees only entities.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import types
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from eventapi.resources.declared import Declared
from eventapi.values.texts import value_of_text
from eventapi.values.times import record_time, with_plus
from events.vocabulary.resources import Entity, Field

Texts = Mapping[str, Sequence[str]]
Value = Callable[[Entity], Any]
OwnerName = Callable[[int], str]

_ORDERED: Final = (int, float, str, decimal.Decimal, dt.date, dt.datetime)
_SCALARS: Final = (*_ORDERED, bool, uuid.UUID)
_ORDERING: Final = ("eq", "ne", "lt", "le", "gt", "ge", "in", "null")
OPERATORS: Final = (*_ORDERING, "contains", "prefix")
CONTROLS: Final = frozenset({"limit", "after", "order", "sort", "q", "fields", "count", "as_of"})
"""Parameters that are not filters; a field of such a name is filtered with ``.eq``."""

_EXAMPLES: Final[Mapping[Any, str]] = {
    bool: "true",
    int: "1",
    float: "1.5",
    decimal.Decimal: "1.50",
    dt.date: "2026-12-31",
    dt.datetime: "2026-12-31T23:59:59Z",
    uuid.UUID: "0b5e1a6c-3f0d-4f0e-9a52-2f6f2f0c9d11",
}

_MAX_ID: Final = 2**63 - 1
_SORTED_TEXT: Final = 128
"""Characters of a text that decide its place in an order."""

_COMPLEMENTS: Final = bytes(range(255, -1, -1))
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Column(msgspec.Struct, frozen=True):
    """A value of every resource in a list, and its type without ``None``."""

    name: str
    type: Any
    is_time: bool = False
    has_none: bool = False

    @property
    def is_ordered(self) -> bool:
        """Whether the values have an order."""
        return self.type in _ORDERED

    @property
    def is_text(self) -> bool:
        """Whether the values are texts of the content."""
        return self.type is str and not self.is_time and self.name != "owner"

    @property
    def operators(self) -> Sequence[str]:
        """The operators of filters by this column."""
        if self.type is str and not self.is_time:
            return OPERATORS
        if self.is_ordered:
            return _ORDERING
        if _is_scalar(self.type):
            return ("eq", "ne", "in", "null")
        if get_origin(self.type) is list and _is_scalar(without_none(get_args(self.type)[0])):
            return ("contains", "null")
        return ("null",)

    def example_of(self, operator: str) -> str:
        """A text that a filter with this operator accepts."""
        return "true" if operator == "null" else self._example()

    def _example(self) -> str:
        if self.is_time:
            return _EXAMPLES[dt.datetime]
        if get_origin(self.type) is list:
            (inner,) = get_args(self.type)
            return Column(self.name, without_none(inner))._example()
        if get_origin(self.type) is Literal:
            return str(get_args(self.type)[0])
        if isinstance(self.type, type) and issubclass(self.type, enum.Enum):
            return str(next(iter(self.type)).value)
        return _EXAMPLES.get(self.type, "first")

    def parse(self, text: str) -> Any:
        """A value of this column; raises `ValueError`."""
        if self.is_time:
            return record_time(with_plus(text), zone_needed=True)
        if self.type is str:
            return text
        if self.type is dt.datetime:
            text = with_plus(text)
        value = value_of_text(text, self.type)
        if not _is_comparable(value):
            is_time = isinstance(value, dt.datetime)
            raise ValueError(
                "must have an offset, such as Z" if is_time else "must be a finite number"
            )
        if not isinstance(value, dt.datetime):
            return value
        try:
            return value.astimezone(dt.UTC)
        except OverflowError:
            raise ValueError("must be a time from the year 1 to 9999 in UTC") from None


def columns_of(resource: Declared) -> dict[str, Column]:
    """The columns of a kind by name."""
    found = [
        Column("id", int),
        *(_column(one) for one in resource.type.fields),
        Column("owner", str),
        Column("created_at", str, is_time=True),
        Column("updated_at", str, is_time=True),
        Column("version", int),
    ]
    return {column.name: column for column in found}


def _column(field: Field) -> Column:
    hint = without_none(field.type)
    return Column(field.name, hint, has_none=hint != field.type)


def without_none(hint: Any) -> Any:
    """A type without ``None``; ``object`` for a union of others."""
    if get_origin(hint) in {Union, types.UnionType}:
        others = [one for one in get_args(hint) if one is not types.NoneType]
        return others[0] if len(others) == 1 else object
    return hint


def _is_scalar(hint: Any) -> bool:
    is_enum = isinstance(hint, type) and issubclass(hint, enum.Enum)
    return is_enum or hint in _SCALARS or get_origin(hint) is Literal


class Filter(msgspec.Struct, frozen=True):
    """A test of one column."""

    column: str
    test: Callable[[Any], bool]


class Sort(msgspec.Struct, frozen=True):
    """A column to sort by."""

    column: str
    descending: bool = False


class Selection(msgspec.Struct, frozen=True):
    """The filters and the order of a list.

    ``sorts`` always end with the number, so that the order is total. ``text`` is the order as the
    client wrote it; cursors belong to it.
    """

    columns: Mapping[str, Column]
    filters: Sequence[Filter] = ()
    sorts: Sequence[Sort] = (Sort("id"),)
    text: str = ""

    @property
    def _directions(self) -> Sequence[tuple[bool, bool]]:
        columns = [self.columns.get(one.column) for one in self.sorts]
        return [
            (one.descending, column is not None and column.has_none)
            for one, column in zip(self.sorts, columns, strict=True)
        ]

    @property
    def is_by_id(self) -> bool:
        """Whether the order is that of the numbers, in either direction."""
        return self.sorts[0].column == "id"

    @property
    def list_columns(self) -> Sequence[str]:
        """The columns with lists in which a filter searches."""
        names = dict.fromkeys(one.column for one in self.filters)
        return [name for name in names if get_origin(self.columns[name].type) is list]

    @property
    def descending(self) -> bool:
        """Whether the first column is in descending order."""
        return self.sorts[0].descending

    def value(self, name: str, owner_name: OwnerName) -> Value:
        """The function that gets the value of a column."""
        if name == "owner":
            return lambda entity: owner_name(entity.owner)
        found: Value = attrgetter(name)
        return found

    def sort_value(self, name: str, owner_name: OwnerName) -> Value:
        """The function that gets the value of a column to sort by.

        Of a text it is only the beginning, so that a cursor, which has the values, fits into a URL.
        """
        value, column = self.value(name, owner_name), self.columns.get(name)
        if column is None or not column.is_text:
            return value

        def beginning(entity: Entity) -> Any:
            found = value(entity)
            return found and found[:_SORTED_TEXT]

        return beginning

    def matches(self, owner_name: OwnerName) -> Callable[[Entity], bool]:
        """The test whether a resource passes all filters."""
        tests = [(self.value(one.column, owner_name), one.test) for one in self.filters]

        def passes(entity: Entity) -> bool:
            for value, test in tests:  # noqa: SIM110 - `all` takes twice as long
                if not test(value(entity)):
                    return False
            return True

        return passes

    def key(self, owner_name: OwnerName) -> Callable[[Entity], tuple[Any, ...]]:
        """The function that returns a sort key; ``None`` is last in ascending order."""
        values = [self.sort_value(one.column, owner_name) for one in self.sorts]
        parts = [*zip(values, self._directions, strict=True)]

        def key(entity: Entity) -> tuple[Any, ...]:
            found: list[Any] = []
            for value, (descending, has_none) in parts:
                _add_to_key(found, value(entity), descending, has_none)
            return tuple(found)

        return key

    def _key_of(self, values: Iterable[Any]) -> tuple[Any, ...]:
        found: list[Any] = []
        for value, (descending, has_none) in zip(values, self._directions, strict=True):
            _add_to_key(found, value, descending, has_none)
        return tuple(found)

    def cursor(self, entity: Entity, owner_name: OwnerName) -> str:
        """The cursor behind a resource; in the order of numbers it is the number."""
        if self.is_by_id:
            return str(entity.id)
        values = [self.sort_value(one.column, owner_name)(entity) for one in self.sorts]
        encoded = msgspec.msgpack.encode((self.text, values))
        return urlsafe_b64encode(encoded).rstrip(b"=").decode()

    def key_of_cursor(self, text: str) -> tuple[Any, ...]:
        """The sort key of a cursor; raises `ValueError` if it is of another order."""
        if self.is_by_id:
            if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _MAX_ID:
                raise ValueError("must be the cursor of a page in this order")
            return self._key_of((int(text),))
        columns = [self.columns[one.column] for one in self.sorts]
        hints = [one.type | None if one.has_none else one.type for one in columns]
        row: Any = tuple.__class_getitem__(tuple(hints))
        cursor_type: Any = tuple.__class_getitem__((str, row))
        try:
            encoded = urlsafe_b64decode(text.encode() + b"==")
            order, values = msgspec.msgpack.decode(encoded, type=cursor_type)
        except (Base64Error, msgspec.MsgspecError, UnicodeEncodeError, ValueError):
            order, values = None, ()
        if order != self.text or not all(map(_is_comparable, values)):
            raise ValueError("must be the cursor of a page in this order")
        return self._key_of(values)


def _is_comparable(value: Any) -> bool:
    """Whether a value can be compared with all others of its type."""
    if isinstance(value, dt.datetime):
        return value.tzinfo is not None
    if isinstance(value, decimal.Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


def _add_to_key(key: list[Any], value: Any, descending: bool, has_none: bool) -> None:
    """Add a value to a sort key, and before it whether it is ``None``, if it can be."""
    if has_none:
        key.append((value is None) is not descending)
    key.append(_reversed(value) if descending else value)


def _reversed(value: Any) -> Any:
    """A key that is in reverse order to a value.

    It is compared without Python code, or a sort would take ten times as long. Texts have the order
    of their bytes in UTF-8; the last byte is greater than the next one of a longer text.
    """
    if isinstance(value, str):
        return value.encode().translate(_COMPLEMENTS) + b"\xff"
    if isinstance(value, dt.datetime):
        return _EPOCH - value
    if isinstance(value, dt.date):
        return -value.toordinal()
    if isinstance(value, decimal.Decimal):
        return value.copy_negate()
    return None if value is None else -value
