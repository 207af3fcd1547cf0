"""Kinds of resources for tests: one with every rule, and one with every type of field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, Struct, UnsetType, structs

from eventapi.resources import Clear, Global, Resource, action
from eventapi.resources.registry import Registry


class Invoice(Resource):
    """A kind with clear and sealed fields, unique ones, shares and an action."""

    unique = (("number", "year"), Global("barcode"))
    shareable = True

    number: str
    year: Clear[int]
    barcode: str | None = None
    note: str = ""
    paid: Clear[bool] = False

    @action
    def pay(self, *, how: str) -> Invoice:
        """Mark the invoice as paid."""
        return structs.replace(self, paid=True, note=how)


class Color(Enum):
    """An enumeration with values of its own."""

    RED = "red"
    BLUE = "blue"


class Line(Struct, frozen=True):
    """A nested value."""

    text: str
    price: Decimal
    taxes: list[float] = []


class Everything(Resource):
    """A kind with every type of field, sealed and clear."""

    collection = "everything"

    truth: bool
    number: int
    ratio: float
    text: str
    price: Decimal
    day: date
    moment: datetime
    key: UUID
    color: Color
    size: Literal["s", "m"]
    words: list[str]
    days: dict[str, date]
    line: Line
    lines: list[Line]
    maybe: int | None
    clear_truth: Clear[bool]
    clear_number: Clear[int]
    clear_ratio: Clear[float]
    clear_text: Clear[str]
    clear_price: Clear[Decimal]
    clear_day: Clear[date]
    clear_moment: Clear[datetime]
    clear_key: Clear[UUID]
    clear_color: Clear[Color]
    clear_size: Clear[Literal["s", "m"]]
    clear_words: Clear[list[str]]
    clear_days: Clear[dict[str, date]]
    clear_line: Clear[Line]
    maybe_line: Line | None = None
    clear_maybe: Clear[date | None] = None


REGISTRY: Final = Registry([Invoice, Everything])
KINDS: Final = REGISTRY.vocabulary
INVOICE: Final = REGISTRY.by_collection["invoices"].type
EVERYTHING: Final = REGISTRY.by_collection["everything"].type

_texts = st.text(max_size=9)
_times = st.datetimes(
    datetime.fromisoformat("1970-01-01"),
    datetime.fromisoformat("9000-01-01"),
    timezones=st.just(UTC),
)
_SIMPLE: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: _texts,
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    date: st.dates(),
    datetime: _times,
    UUID: st.uuids(),
    NoneType: st.none(),
    UnsetType: st.just(UNSET),
    Any: _texts | st.integers(0, 9),
}
_BY_ORIGIN: Final[Mapping[Any, Callable[..., st.SearchStrategy[Any]]]] = {
    Union: lambda *parts: st.one_of(*map(values_of, parts)),
    UnionType: lambda *parts: st.one_of(*map(values_of, parts)),
    Literal: lambda *parts: st.sampled_from(parts),
    list: lambda part: st.lists(values_of(part), max_size=3),
    dict: lambda _, part: st.dictionaries(_texts, values_of(part), max_size=3),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a plain type of a field."""
    if get_origin(hint) in _BY_ORIGIN:
        return _BY_ORIGIN[get_origin(hint)](*get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return instances_of(hint)
    return _SIMPLE[hint]


def instances_of(kind: type[Struct]) -> st.SearchStrategy[Any]:
    """Instances of a Struct, such as a content."""
    return st.builds(
        kind, **{one.name: values_of(one.type) for one in msgspec.structs.fields(kind)}
    )
