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

from events.record import Event, Personal, Record
from events.vocabulary import vocabulary as module
from events.vocabulary.resources import ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.security import PackQuery
from tests.events.log_helpers import SOURCE
from tests.kinds import KINDS, instances_of

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
    PackQuery: st.builds(PackQuery, st.just(UNSET) | texts, st.just(UNSET) | numbers),
}
_COLLECTIONS: Mapping[str, str] = {
    "session": "sessions",
    "security": "users",
    "audit": "users",
    **{one.kind: one.collection for one in KINDS.resources},
}


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if get_origin(hint) in {Union, UnionType}:
        return st.one_of(*map(_values, get_args(hint)))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) in {list, tuple}:
        return st.lists(_values(get_args(hint)[0]), max_size=3).map(get_origin(hint))
    return _SIMPLE[hint]


def personal_type(kind: type[Event]) -> type[Personal] | None:
    """The Struct of the values that are sealed in an event; ``None`` without any."""
    if issubclass(kind, ResourceEvent):
        return kind.resource.sealed_type(kind)
    return module._PERSONAL.get(kind)


_WITH_PATTERNS: Mapping[str, st.SearchStrategy[Any]] = {
    "role": st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
    "types": st.lists(st.sampled_from(("item.*", "user.erased")), max_size=2).map(tuple),
}
"""Fields of text with a pattern, by name."""


def _instances(kind: type[Event]) -> st.SearchStrategy[Any]:
    """Events of a type, their personal values in clear."""
    hints = get_type_hints(kind)
    personal = personal_type(kind)
    parts = {
        name: _values(hints[name]) if name not in _WITH_PATTERNS else _WITH_PATTERNS[name]
        for name in kind.__struct_fields__
        if name not in {"clear", "personal"}
    }
    if personal is not None:
        parts["personal"] = instances_of(personal)
    if issubclass(kind, ResourceEvent) and kind.resource.clear and personal is not None:
        clear = "clear_changes" if kind.verb in {"updated", "acted"} else "clear_content"
        parts["clear"] = st.none() | instances_of(getattr(kind.resource, clear))
    return st.builds(kind, **parts)


_names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
_declarations = st.builds(
    SchemaDeclared,
    version=numbers,
    kind=_names.map("foreign_{}".format),
    schema=st.dictionaries(texts, texts | st.lists(texts, max_size=3), max_size=3),
    clear=st.lists(texts, max_size=3),
    unique=st.lists(st.lists(texts, max_size=3), max_size=3),
    actions=st.lists(_names, max_size=3),
)

events: st.SearchStrategy[Event] = st.one_of(
    _declarations,
    *(_instances(kind) for kind in KINDS.events if kind is not SchemaDeclared),
)
"""Any event of the vocabulary `KINDS`, its personal values in clear."""


@st.composite
def records(draw: st.DrawFn, position: int = 1, time: str | None = None) -> Record:
    """A record of any type; its seal, if it has one, is that of one of nine users.

    A reason is drawn only beside values, or if there are none: `decode` does not tell none apart from
    an object without members.
    """
    event = draw(events)
    kind = event.type.partition(".")[0]
    number = draw(session_ids) if kind == "session" else str(draw(numbers))
    personal = getattr(event, "personal", None)
    reason = ""
    if hasattr(event, "personal") and (personal is None or msgspec.json.encode(personal) != b"{}"):
        reason = draw(st.just("") | texts)
    collection = _COLLECTIONS.get(kind, f"{kind}s")
    return Record(
        position,
        SOURCE,
        f"{collection}/{number}",
        time or draw(times),
        draw(st.one_of(numbers.map("users/{}".format), texts.map("operator/{}".format))),
        event,
        f"users/{draw(numbers)}" if personal is not None or reason else "",
        draw(st.just("") | texts),
        session=draw(st.just("") | session_ids),
        reason=reason,
    )


@st.composite
def histories(draw: st.DrawFn, min_size: int = 0, max_size: int = 12) -> list[Record]:
    """Records at positions without gaps and in order of time, without hash and end."""
    clock = sorted(draw(st.lists(times, min_size=min_size, max_size=max_size)))
    return [draw(records(position, time)) for position, time in enumerate(clock, 1)]
