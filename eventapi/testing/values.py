"""Hypothesis strategies for the values of fields, from their types and limits."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import re
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from msgspec import NODEFAULT, Meta

from eventapi.values.explanations import CHECK
from eventapi.values.rules import PLAIN

Values = st.SearchStrategy[Any]

_PLAIN_TEXT: Final = st.characters(exclude_categories=("Cc", "Cf", "Cs")) | st.sampled_from(
    "\t\n\r"
)
_SHORT: Final = 6
"""Elements above the least number; more of them find no more faults."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_ZONES: Final = (dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30)))


def values_of(hint: Any) -> Values:
    """The valid values of a type with limits, such as one of ``Declared.strict``."""
    limits: list[Meta] = []
    while get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        limits = [one for one in metadata if isinstance(one, Meta)] + limits
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return st.one_of(*map(values_of, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(values_of(arguments[0]), min_size=_least(limits), max_size=_most(limits))
    if origin is dict:
        keys, values = map(values_of, arguments)
        return st.dictionaries(keys, values, min_size=_least(limits), max_size=_most(limits))
    return _classes(hint, limits)


def _classes(cls: Any, limits: Sequence[Meta]) -> Values:
    if issubclass(cls, enum.Enum):
        return st.sampled_from(cls)
    if issubclass(cls, msgspec.Struct):
        return structs_of(cls)
    return _SCALARS[cls](limits)


def structs_of(struct: type[msgspec.Struct], hints: Mapping[str, Any] | None = None) -> Values:
    """Instances of a Struct; ``hints`` replaces the types of its fields.

    A field with a default sometimes keeps it.
    """
    required: dict[str, Values] = {}
    optional: dict[str, Values] = {}
    for field in msgspec.structs.fields(struct):
        values = values_of((hints or {}).get(field.name, field.type))
        has_default = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        (optional if has_default else required)[field.name] = values
    found = st.fixed_dictionaries(required, optional=optional)
    return found.map(lambda values: struct(**values))


def _bound(limits: Sequence[Meta], *names: str) -> list[Any]:
    return [
        value for limit in limits for name in names if (value := getattr(limit, name)) is not None
    ]


def _least(limits: Sequence[Meta]) -> int:
    return int(max([0, *_bound(limits, "min_length")]))


def _most(limits: Sequence[Meta]) -> int:
    return int(min([_least(limits) + _SHORT, *_bound(limits, "max_length")]))


def _integers(limits: Sequence[Meta]) -> Values:
    least = [*_bound(limits, "ge"), *(int(bound) + 1 for bound in _bound(limits, "gt"))]
    most = [*_bound(limits, "le"), *(int(bound) - 1 for bound in _bound(limits, "lt"))]
    low, high = max([INT64_MIN, *least]), min([INT64_MAX, *most])
    (factor,) = _bound(limits, "multiple_of") or [1]
    return st.integers(-(-low // factor), high // factor).map(lambda value: value * factor)


def _floats(limits: Sequence[Meta]) -> Values:
    above, below = _bound(limits, "gt"), _bound(limits, "lt")
    found = st.floats(
        max([*_bound(limits, "ge"), *above], default=None),
        min([*_bound(limits, "le"), *below], default=None),
        allow_nan=False,
        allow_infinity=False,
    )
    factors = _bound(limits, "multiple_of")
    return found.filter(
        lambda value: (
            value not in above
            and value not in below
            and not any(value % factor for factor in factors)
        )
    )


def _texts(limits: Sequence[Meta]) -> Values:
    shortest = _least(limits)
    longest = min(_bound(limits, "max_length"), default=None)
    patterns = [re.compile(pattern) for pattern in _bound(limits, "pattern")]
    extras = [limit.extra or {} for limit in limits]
    checks = [extra[CHECK] for extra in extras if CHECK in extra]
    is_plain = not patterns or any(extra.get(PLAIN) for extra in extras)
    found = st.text(_PLAIN_TEXT, min_size=shortest, max_size=_most(limits))
    if not is_plain:
        found = st.from_regex(patterns[0])
    return found.filter(
        lambda text: (
            shortest <= len(text)
            and (longest is None or len(text) <= longest)
            and all(pattern.search(text) for pattern in patterns)
            and not any(check(text) for check in checks)
        )
    )


def _times(limits: Sequence[Meta]) -> Values:
    """Times without the first and last year, which another zone may not have."""
    with_zone = _bound(limits, "tz") != [False]
    return st.datetimes(
        dt.datetime.fromisoformat("0002-01-01"),
        dt.datetime.fromisoformat("9998-01-01"),
        timezones=st.sampled_from(_ZONES) if with_zone else st.none(),
    )


def _decimals(_: Sequence[Meta]) -> Values:
    return st.decimals(-(10**12), 10**12, allow_nan=False, places=2)


_SCALARS: Final[Mapping[Any, Callable[[Sequence[Meta]], Values]]] = {
    bool: lambda _: st.booleans(),
    int: _integers,
    float: _floats,
    str: _texts,
    decimal.Decimal: _decimals,
    dt.date: lambda _: st.dates(),
    dt.datetime: _times,
    uuid.UUID: lambda _: st.uuids(),
    types.NoneType: lambda _: st.none(),
}
