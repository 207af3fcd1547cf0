"""Every fault of an input is found, in a person's words."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas import requests as bodies
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import V2
from eventapi.http.schemas.webhooks import NewWebhook, WebhookPatch
from eventapi.testing.items import REGISTRY
from eventapi.values.explanations import CHECK, RULE, explain
from eventapi.values.validation import failed_checks, faults_in_json, faults_of
from events.errors import Fault


def _odd(number: int) -> str | None:
    return None if number % 2 else "must be odd"


class Example(msgspec.Struct, forbid_unknown_fields=True):
    """One member for each kind of rule."""

    name: Annotated[str, Meta(min_length=2, max_length=4, pattern="^a", extra={RULE: "must begin"})]
    number: Annotated[int, Meta(ge=1, le=9, extra={CHECK: _odd})] | UnsetType = UNSET
    order: Literal["asc", "desc"] = "asc"
    due: date | None = None
    tags: list[Annotated[str, Meta(max_length=1)]] = msgspec.field(default_factory=list)
    kinds: Annotated[tuple[Annotated[str, Meta(max_length=1)], ...], Meta(max_length=3)] = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, [("/name", "is required", "missing")]),
        ({"name": 5}, [("/name", "must be a string, not a whole number", "string_type")]),
        ({"name": "a"}, [("/name", "must have at least 2 characters", "string_too_short")]),
        ({"name": "abcde"}, [("/name", "must have at most 4 characters", "string_too_long")]),
        ({"name": "bc"}, [("/name", "must begin", "string_pattern_mismatch")]),
        ({"name": "ab", "number": 0}, [("/number", "must be at least 1", "greater_than_equal")]),
        ({"name": "ab", "number": 10}, [("/number", "must be at most 9", "less_than_equal")]),
        ({"name": "ab", "number": 2}, [("/number", "must be odd", "value_error")]),
        (
            {"name": "ab", "number": None},
            [("/number", "must be a whole number, not null", "int_type")],
        ),
        ({"name": "ab", "order": "up"}, [("/order", "must be asc or desc", "literal_error")]),
        (
            {"name": "ab", "tags": ["a", "bc"]},
            [("/tags/1", "must have at most 1 character", "string_too_long")],
        ),
        (
            {"name": "ab", "kinds": ["ab", "a", 5, "b"]},
            [
                ("/kinds", "must have at most 3 elements", "too_long"),
                ("/kinds/0", "must have at most 1 character", "string_too_long"),
                ("/kinds/2", "must be a string, not a whole number", "string_type"),
            ],
        ),
        ({"name": "ab", "x/~": 1}, [("/x~1~0", "is not known here", "extra_forbidden")]),
        (
            {"name": "b", "number": 10, "order": 1, "x": 1},
            [
                ("/name", "must have at least 2 characters", "string_too_short"),
                ("/number", "must be at most 9", "less_than_equal"),
                ("/order", "must be a string, not a whole number", "string_type"),
                ("/x", "is not known here", "extra_forbidden"),
            ],
        ),
    ],
)
def test_each_fault_has_its_place_words_and_code(
    value: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    faults = [Fault(*one) for one in expected]
    assert faults_of(value, Example) == faults
    assert faults_in_json(msgspec.json.encode(value), Example) == faults


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"a"', b"true"])
def test_value_that_is_no_object_is_one_fault(content: bytes) -> None:
    (fault,) = faults_in_json(content, Example)
    assert (fault.pointer, fault.detail[:20]) == ("", "must be an object, n")


def test_numbers_in_texts_are_converted() -> None:
    assert faults_of({"name": "ab", "number": "3"}, Example, is_text=True) == []
    (fault,) = faults_of({"name": "ab", "number": "three"}, Example, is_text=True)
    assert fault == Fault("/number", "must be a whole number", "int_parsing")


_ITEM = shape_of(REGISTRY.item, V2)
_BODIES: list[type[msgspec.Struct]] = [
    bodies.Registration,
    _ITEM.body,
    _ITEM.patch,
    bodies.PasswordChange,
    NewWebhook,
    WebhookPatch,
    Example,
]
_texts = st.text(max_size=12) | st.sampled_from(
    ["ann@example.org", "correct horse", "\u200b", "ab"]
)
_json = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts
_values = _json | st.lists(_json, max_size=3) | st.dictionaries(_texts, _json, max_size=3)
_objects = st.sampled_from(_BODIES).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.fixed_dictionaries({}, optional=dict.fromkeys(kind.__struct_fields__, _values)),
    )
)


@given(_objects)
def test_an_input_without_faults_is_one_that_converts(
    case: tuple[type[msgspec.Struct], dict[str, Any]],
) -> None:
    """And the other way round; no fault has msgspec's words in it."""
    kind, value = case
    content = msgspec.json.encode(value)
    faults = faults_in_json(content, kind)
    try:
        is_good = not failed_checks(msgspec.json.decode(content, type=kind))
    except msgspec.ValidationError:
        is_good = False
    assert is_good == (not faults)
    assert not any("Expected" in fault.detail or "`str`" in fault.detail for fault in faults)
    pointers = [fault.pointer for fault in faults]
    assert len(set(pointers)) == len(pointers)


def test_unknown_message_of_msgspec_is_passed_on() -> None:
    error = msgspec.ValidationError("Something else - at `$.a[0].b`")
    assert explain(error, str) == Fault("/a/0/b", "something else")
