"""Faults inside lists, dicts and nested Structs: the place, and the words of the inner type."""

from __future__ import annotations

import enum
import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from eventapi.resources.fields import strict
from eventapi.values.explanations import RULE
from eventapi.values.rules import Rules
from eventapi.values.validation import faults_in_json, faults_of
from events.errors import Invalid


class Color(enum.Enum):
    """Two colors."""

    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A nested value."""

    size: Literal["s", "m"] = "s"
    code: Annotated[str, Meta(pattern="^a", extra={RULE: "must begin with a"})] = "a"


class Outer(msgspec.Struct):
    """Values in containers."""

    sizes: list[Literal["s", "m"]] = []
    inner: Inner | None = None
    inners: list[Inner] = []
    by_name: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("values", "pointer", "detail"),
    [
        ({"sizes": ["s", "x"]}, "/sizes/1", "must be m or s"),
        ({"inner": {"size": "x"}}, "/inner/size", "must be m or s"),
        ({"inner": {"code": "x"}}, "/inner/code", "must begin with a"),
        ({"inners": [{}, {"size": "x"}]}, "/inners/1/size", "must be m or s"),
        ({"inners": [{}, {"more": 1}]}, "/inners/1/more", "is not known here"),
        ({"by_name": {"one": {"size": "x"}}}, "/by_name/one/size", "must be m or s"),
    ],
)
def test_a_nested_fault_names_its_place_and_its_rule(
    values: dict[str, Any], pointer: str, detail: str
) -> None:
    (fault,) = faults_of(values, Outer)
    assert (fault.pointer, fault.detail) == (pointer, detail)


class Moments(msgspec.Struct):
    """Values whose JSON is a text of some form."""

    day: date | None = None
    moment: datetime | None = None
    key: UUID | None = None
    price: Decimal | None = None


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("day", "must be a date such as 2026-01-31"),
        ("moment", "must be a time such as 2026-01-31T12:00:00Z"),
        ("key", "must be a UUID"),
        ("price", 'must be a decimal number as a string such as "1.50"'),
    ],
)
def test_a_text_of_another_form_gets_a_fault_that_names_the_form(name: str, detail: str) -> None:
    (fault,) = faults_of({name: "another form"}, Moments)
    assert (fault.pointer, fault.detail) == (f"/{name}", detail)


def test_a_pattern_without_a_rule_is_named() -> None:
    hint = Annotated[str, Meta(pattern="^[A-Z]{1,3}$")]
    for found in (hint, hint | None, list[hint]):
        kind = msgspec.defstruct("Kind", [("value", found)])
        value = ["a1"] if found == list[hint] else "a1"
        (fault,) = faults_of({"value": value}, kind)
        assert fault.detail == "must have the form ^[A-Z]{1,3}$"


def test_the_tags_of_a_union_are_named() -> None:
    kind = msgspec.defstruct("Kind", [("value", Card | Cash)])
    (fault,) = faults_of({"value": {"type": "gold"}}, kind)
    assert (fault.pointer, fault.detail) == ("/value/type", "must be card or cash")


class Inside(msgspec.Struct):
    """A nested value with a limit."""

    at: datetime


class Card(msgspec.Struct, tag="card"):
    """One way to pay."""

    last: int = 0


class Cash(msgspec.Struct, tag="cash"):
    """Another way to pay."""


class Row(msgspec.Struct, array_like=True):
    """A value that JSON has as a list."""

    first: int
    second: str = ""


FIELD_TYPES: tuple[Any, ...] = (
    *(bool, int, float, str, Decimal, UUID, date, datetime, Color, Inside),
    *(Literal["a", "b"], Literal["a", 1], list[int], dict[str, datetime], list[Inside]),
    *(int | None, datetime | None, int | str, int | list[int], Color | None),
    *(Annotated[str, Meta(min_length=2, max_length=3)], Annotated[str, Meta(pattern="^a$")]),
    *(Annotated[int, Meta(ge=1, le=5, multiple_of=2)], Annotated[float, Meta(gt=1, lt=9)]),
    *(Annotated[list[int], Meta(min_length=1, max_length=2)], dict[str, Decimal]),
    *(Card | Cash, list[Card | Cash], dict[str, Card | Cash], Row, Row | None),
)
ANY_VALUES: tuple[Any, ...] = (
    *(None, True, 0, 5, -1, 2**70, 1.5, 1e300, "", "x", "abcdefg", "\0", "5", "true", "1_0"),
    *("2026-01-01", "2026-13-01", "2026-01-01T00:00:00", "2026-01-01T25:00:00Z", "NaN"),
    *([], ["x"], [1, 2, 3], [None], {}, {"a": "x"}, {"at": "2026-01-01T00:00:00"}),
    *([{"at": "2026-01-01T00:00:00"}], {"at": None, "more": 1}),
    *({"type": "gold"}, [{"type": "gold"}], {"type": "card", "last": "x"}, {"a": {"type": "gold"}}),
)
WORDS = re.compile(
    r"(has a name that )?(must (be|have|not be) [^`]*|is required|is not known here|"
    r"is a number that is too large)"
)


@pytest.mark.parametrize("hint", FIELD_TYPES, ids=str)
def test_no_sentence_of_the_decoder_reaches_a_person(hint: Any) -> None:
    strict_type = strict(hint)
    kind = msgspec.defstruct("Kind", [("value", strict_type)])
    refused = 0
    for value in ANY_VALUES:
        for found in faults_in_json(json.dumps({"value": value}).encode(), kind):
            assert WORDS.fullmatch(found.detail), (value, found.detail)
            refused += 1
        if isinstance(value, str):
            for found in faults_of({"value": value}, kind, is_text=True):
                assert WORDS.fullmatch(found.detail), (value, found.detail)
    assert refused > 5


def test_a_time_without_an_offset_is_refused_in_the_words_of_a_filter() -> None:
    kind = msgspec.defstruct("Kind", [("at", strict(datetime))])
    (fault,) = faults_of({"at": "2026-01-01T00:00:00"}, kind)
    assert (fault.pointer, fault.detail) == ("/at", "must have an offset, such as Z")


NUMBERS = ("0", "-0", "-0.50", "1E+2", "1e-7", "12345678901234567890.10", "0.0")
NO_NUMBERS = (
    *("1_000", " 5", "5 ", "5\n", "\u0663", "\uff11", "1\u00a0", "+5", ".5", "5.", "01", "-", ""),
    *("NaN", "sNaN", "-NaN", "Infinity", "-inf", "1e", "0x5", "1,5"),
)


@pytest.mark.parametrize("hint", [Decimal, Decimal | None, list[Decimal], dict[str, Decimal]])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_decimal_number_has_the_form_of_a_json_number(text: str, hint: Any) -> None:
    kind = msgspec.defstruct("Kind", [("price", hint)])
    value = {list[Decimal]: [text], dict[str, Decimal]: {"a": text}}.get(hint, text)
    pointer = {list[Decimal]: "/price/0", dict[str, Decimal]: "/price/a"}.get(hint, "/price")
    for found in (
        faults_of({"price": value}, kind),
        faults_in_json(msgspec.json.encode({"price": value}), kind),
    ):
        assert [(fault.pointer, fault.detail) for fault in found] == [
            (pointer, 'must be a decimal number as a string such as "1.50"')
        ]


@pytest.mark.parametrize(("value", "pointer"), [(["1_0"], "/price/0"), ({"a": "1_0"}, "/price/a")])
def test_a_list_beside_a_dict_hides_no_fault(value: object, pointer: str) -> None:
    kind = msgspec.defstruct("Kind", [("price", list[Decimal] | dict[str, Decimal])])
    assert [fault.pointer for fault in faults_of({"price": value}, kind)] == [pointer]
    content = msgspec.json.encode({"price": value})
    assert [fault.pointer for fault in faults_in_json(content, kind)] == [pointer]


@pytest.mark.parametrize("text", NUMBERS)
def test_every_form_of_a_json_number_is_a_decimal_number(text: str) -> None:
    kind = msgspec.defstruct("Kind", [("price", list[Decimal])])
    assert faults_of({"price": [text]}, kind) == []
    assert faults_in_json(msgspec.json.encode({"price": [text]}), kind) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_decimal_number_that_an_action_returns_gets_one_fault_if_it_is_not_finite(
    number: str,
) -> None:
    rules = Rules(msgspec.defstruct("Kind", [("price", Decimal)]))
    with pytest.raises(Invalid) as caught:
        rules.check(price=Decimal(number))
    assert [fault.pointer for fault in caught.value.faults] == ["/price"]


class Priced(msgspec.Struct, forbid_unknown_fields=True):
    """Decimal numbers in containers, and beside numbers."""

    price: Decimal | None = None
    prices: list[Decimal] = []
    by_name: dict[Annotated[str, Meta(max_length=3)], Decimal] = {}
    either: Decimal | int = 0
    lines: Annotated[list[Inner], Meta(max_length=2)] = []
    names: Annotated[dict[str, int], Meta(max_length=1)] = {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"prices": ["x", "1", 2], "by_name": {"~/b": 1.5, "long": "2"}, "price": 5},
            {
                "/price": 'must be a decimal number as a string such as "1.50", not a number',
                "/prices/0": 'must be a decimal number as a string such as "1.50"',
                "/prices/2": 'must be a decimal number as a string such as "1.50", not a number',
                "/by_name/~0~1b": 'must be a decimal number as a string such as "1.50", not a number',
                "/by_name/long": "has a name that must have at most 3 characters",
            },
        ),
        (
            {"lines": [{"size": "x", "more": 1}, 5, {"code": "b"}]},
            {
                "/lines": "must have at most 2 elements",
                "/lines/0/size": "must be m or s",
                "/lines/0/more": "is not known here",
                "/lines/1": "must be an object, not a whole number",
                "/lines/2/code": "must begin with a",
            },
        ),
        (
            {"names": {"a": "1", "b": None}},
            {
                "/names": "must have at most 1 member",
                "/names/a": "must be a whole number, not a string",
                "/names/b": "must be a whole number, not null",
            },
        ),
        ({"price": "5", "prices": ["-1.50"], "either": 5, "lines": [{}, {}]}, {}),
    ],
)
def test_every_fault_at_any_depth_is_reported_once(
    value: dict[str, Any], expected: dict[str, str]
) -> None:
    for faults in (
        faults_of(value, Priced),
        faults_in_json(msgspec.json.encode(value), Priced),
    ):
        found = {fault.pointer: fault.detail for fault in faults}
        assert found == expected
        assert len(found) == len(faults)


class Pair(msgspec.Struct, array_like=True):
    """A value that is a list in JSON, whose end may be missing."""

    name: str
    price: Decimal = Decimal(0)


class TaggedPair(Pair, array_like=True, tag="pair"):
    """The same, with its tag as the first element."""


@pytest.mark.parametrize(("kind", "tag"), [(Pair, []), (TaggedPair, ["pair"])])
@pytest.mark.parametrize(
    ("rest", "is_good"), [(["a"], True), (["1"], True), (["a", "1.5"], True), (["a", 1.5], False)]
)
def test_a_decimal_number_is_a_string_in_a_struct_that_is_a_list(
    kind: type[Pair], tag: list[str], rest: list[Any], is_good: bool
) -> None:
    outer = msgspec.defstruct("Outer", [("pairs", list[kind])])  # type: ignore[valid-type]  # a class
    for values in ({"pairs": [tag + rest]}, {"pairs": [[*tag, "b", "2"], tag + rest]}):
        found = faults_in_json(json.dumps(values).encode(), outer)
        assert [fault.pointer for fault in found] == [
            f"/pairs/{len(values['pairs']) - 1}" for _ in range(not is_good)
        ]
