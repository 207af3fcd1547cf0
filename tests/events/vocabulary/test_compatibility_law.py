"""A law: a declaration that is not refused decodes every content of the older one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.resources.declared import Declared
from events.vocabulary.vocabulary import Vocabulary
from tests.eventapi.resources.declaring import as_clear
from tests.events.vocabulary.test_compatibility import (
    Address,
    LongerAddress,
    MoreSizes,
    Size,
    StrictAddress,
    faults,
    invoice,
    limited,
)

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs")), max_size=4),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=2),
    UUID: st.uuids(),
    dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=st.just(dt.UTC)),
    Size: st.sampled_from(Size),
    MoreSizes: st.sampled_from(MoreSizes),
    (Literal["x"] | None): st.sampled_from(["x", None]),
    Literal["x", "y", 1]: st.sampled_from(["x", "y", 1]),
    limited(int, ge=1): st.integers(1, 2**63 - 1),
    limited(int, gt=0, le=5): st.integers(1, 5),
    limited(int, ge=1, le=9, multiple_of=3): st.sampled_from([3, 6, 9]),
    limited(float, gt=0, lt=1): st.just(0.5),
    limited(float, ge=0): st.floats(0, 9),
    limited(str, max_length=2): st.sampled_from(["", "x", "xy"]),
    limited(str, pattern="^[a-z]*$"): st.sampled_from(["", "small", "x"]),
    Address: st.builds(Address, st.just("s")),
    LongerAddress: st.builds(LongerAddress, st.just("s"), st.just("c")),
    StrictAddress: st.builds(StrictAddress, st.just("s"), st.just("c")),
}


Kind = tuple[Any, st.SearchStrategy[Any]]
"""A type, with a strategy for its values."""

CONTAINERS = ("", "optional", "list", "dict")


def contained(container: str, kind: Any) -> Kind:
    """A scalar type in a container."""
    values = SCALARS[kind]
    a_list: Any = list
    a_dict: Any = dict
    return {
        "": (kind, values),
        "optional": (kind | None, st.none() | values),
        "list": (a_list[kind], st.lists(values, max_size=2)),
        "dict": (a_dict[str, kind], st.dictionaries(st.sampled_from("xy"), values, max_size=2)),
    }[container]


Drawn = dict[str, tuple[Any, st.SearchStrategy[Any], bool, bool]]
"""The fields of a declaration: type, values, whether it is clear, whether it has a default."""


@st.composite
def evolutions(draw: st.DrawFn) -> tuple[Drawn, Drawn]:
    """An older declaration, and one that is similar, so that often it can read the events."""
    scalars = st.sampled_from(list(SCALARS))
    containers = {name: draw(st.sampled_from(CONTAINERS)) for name in "abc"}

    def field(name: str) -> tuple[Any, st.SearchStrategy[Any], bool, bool]:
        kind = contained(containers[name], draw(scalars))
        return (*kind, draw(st.booleans()), draw(st.booleans()))

    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True))
    old: Drawn = {name: field(name) for name in names}
    new = dict(old)
    for name in draw(st.lists(st.sampled_from("abc"), max_size=2)):
        change = draw(st.sampled_from(["type", "type", "container", "default", "remove", "clear"]))
        before = new.get(name) or (*field(name)[:3], True)
        if change == "container":
            containers[name] = draw(st.sampled_from(CONTAINERS))
        if change in {"type", "container"}:
            new[name] = (*field(name)[:2], *before[2:])
        elif change == "default":
            new[name] = (*before[:3], not before[3])
        elif change == "clear":
            new[name] = (*before[:2], not before[2], before[3])
        elif len(new) > 1:
            new.pop(name, None)
    return old, new


def drawn_declaration(draw: st.DrawFn, drawn: Drawn) -> Declared:
    fields: dict[str, Any] = {}
    for name, (kind, values, is_clear, has_default) in drawn.items():
        hint = as_clear(kind) if is_clear else kind
        default = msgspec.field(default_factory=partial(deepcopy, draw(values)))
        fields[name] = (hint, default) if has_default else hint
    return invoice(fields)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Declared, Declared, dict[str, Any]]:
    """An older declaration, a newer one, and a content that the older one accepts."""
    old, new = draw(evolutions())
    before, after = drawn_declaration(draw, old), drawn_declaration(draw, new)
    content = {
        name: draw(values)
        for name, (_, values, _, has_default) in old.items()
        if not has_default or draw(st.booleans())
    }
    return before, after, content


def events_of(resource: Declared, content: Mapping[str, Any]) -> tuple[bytes, bytes, bytes]:
    """The data of a ``created`` without its seal, the sealed values, and those of an update."""
    names = {field.name for field in resource.type.clear}
    parts = [
        {name: one for name, one in content.items() if (name in names) == want}
        for want in (True, False)
    ]
    data = {"owner": 1, **({"clear": parts[0]} if parts[0] else {})}
    encode = msgspec.json.encode
    return encode(data), encode(parts[1]), encode({"clear": parts[0]} if parts[0] else {})


@given(cases())
def test_every_old_content_decodes_unless_the_declaration_is_refused(
    case: tuple[Declared, Declared, dict[str, Any]],
) -> None:
    old, new, content = case
    if faults(old, new):
        return
    decoders = Vocabulary([new.type]).decoders
    data, sealed, changes = events_of(old, content)
    # A part may be empty, and is left out then.
    if b"clear" in data or not any(one.default is msgspec.UNSET for one in new.type.clear):
        decoders["invoice.created"].data(data)
    decoders["invoice.updated"].data(changes)
    for name in ("invoice.created", "invoice.updated", "invoice.restored"):
        decode = decoders[name].personal
        assert decode is not None
        decode(sealed)


@given(cases())
def test_a_declaration_reads_its_own_events(
    case: tuple[Declared, Declared, dict[str, Any]],
) -> None:
    for resource in case[:2]:
        assert faults(resource, resource) == []


def test_control_the_law_finds_a_refusal_that_is_missing() -> None:
    """Control: without the check, decoding fails in the way that the law looks for."""
    old, new = invoice({"a": str}), invoice({"a": dt.date})
    assert faults(old, new)
    decode = Vocabulary([new.type]).decoders["invoice.created"].personal
    assert decode is not None
    with pytest.raises(msgspec.ValidationError):
        decode(events_of(old, {"a": "x"})[1])
