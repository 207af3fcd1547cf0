"""Hypothesis strategies for records, derived from the types of the vocabulary.

Values are as wide as the types allow, which is what a codec has to bear. For events and histories
that make sense to a state, see `eventapi.testing.strategies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from events.codec import PERSONAL, VOCABULARY
from events.record import Event, Personal, Record
from tests.events.log_helpers import SOURCE

texts = st.text(max_size=30)
numbers = st.integers(1, 9)
times = st.integers(0, 999_999).map(lambda part: f"2026-01-02T03:04:05.{part:06}Z")
session_ids = st.integers(0, 5).map("{:032x}".format)

_SIMPLE: Mapping[type, st.SearchStrategy[Any]] = {
    str: texts,
    int: numbers,
    bool: st.booleans(),
    NoneType: st.none(),
    UnsetType: st.just(UNSET),
}


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if get_origin(hint) in {Union, UnionType}:
        return st.one_of(*map(_values, get_args(hint)))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    return _SIMPLE[hint]


def _instances(
    kind: type[msgspec.Struct], personal: type[Personal] | None = None
) -> st.SearchStrategy[Any]:
    """Instances of a type; its field ``personal`` is of the given type."""
    hints = get_type_hints(kind)
    return st.builds(
        kind,
        **{
            name: _instances(personal) if personal and name == "personal" else _values(hints[name])
            for name in kind.__struct_fields__
        },
    )


events: st.SearchStrategy[Event] = st.one_of(
    *(_instances(kind, PERSONAL.get(kind)) for kind in VOCABULARY)
)
"""Any event of the vocabulary, its personal values in clear."""


@st.composite
def records(draw: st.DrawFn, position: int = 1, time: str | None = None) -> Record:
    """A record of any type; its seal, if it has one, is that of one of nine users."""
    event = draw(events)
    kind = event.type.partition(".")[0]
    number = draw(session_ids) if kind == "session" else str(draw(numbers))
    return Record(
        position,
        SOURCE,
        f"{kind}s/{number}",
        time or draw(times),
        draw(st.one_of(numbers.map("users/{}".format), texts.map("operator/{}".format))),
        event,
        f"users/{draw(numbers)}" if type(event) in PERSONAL else "",
        draw(st.just("") | texts),
    )


@st.composite
def histories(draw: st.DrawFn, min_size: int = 0, max_size: int = 12) -> list[Record]:
    """Records at positions without gaps and in order of time, without hash and end."""
    clock = sorted(draw(st.lists(times, min_size=min_size, max_size=max_size)))
    return [draw(records(position, time)) for position, time in enumerate(clock, 1)]
