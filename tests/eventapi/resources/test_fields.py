"""The types of fields: limits of input, plain values of the log, and a round trip of both."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta
from msgspec.structs import astuple

from eventapi.resources import Clear
from eventapi.resources.declared import Declared
from eventapi.resources.fields import as_declared
from events.errors import Fault, Invalid
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from tests.eventapi.resources.declaring import as_clear, declared


class Color(enum.Enum):
    """A colour."""

    RED = "red"


class Part(msgspec.Struct, rename="camel"):
    """A part of a whole, with other names in JSON."""

    part_name: Annotated[str, Meta(min_length=1)]
    made_at: dt.datetime | None = None
    colors: list[Color] = []


class Whole(msgspec.Struct):
    """A Struct without limits, of one with limits."""

    parts: list[Part]


CET = dt.timezone(dt.timedelta(hours=1))
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ONE_IN_CET = dt.datetime(2026, 1, 1, 13, tzinfo=CET)

VALUES: dict[Any, Any] = {
    bool: True,
    int: -(2**63),
    float: 0.1,
    str: "two\nlines, ä",
    Decimal: Decimal("12345678901234567890.10"),
    dt.date: dt.date(2026, 2, 28),
    dt.datetime: NOON,
    UUID: UUID("00000000-0000-4000-8000-000000000001"),
    Color: Color.RED,
    Literal["a", 2]: 2,
    list[dt.date]: [dt.date(2026, 2, 28)],
    dict[str, Decimal]: {"x": Decimal("0.10")},
    Part: Part("wheel", NOON, [Color.RED]),
    list[Part]: [Part("wheel")],
    str | None: None,
    dict[str, list[Part | None]]: {"x": [None, Part("wheel")]},
}


def decoded(resource: Declared, event: Any) -> Any:
    """The content of an event, as a replay reads it."""
    decoders = Vocabulary([resource.type]).decoders[event.type]
    plain = msgspec.structs.replace(event, personal=None)
    found = decoders.data(msgspec.json.encode(plain))
    assert decoders.personal is not None
    return decoders.personal(msgspec.json.encode(event.personal)), found.clear


@pytest.mark.parametrize("kind", VALUES, ids=str)
@pytest.mark.parametrize("is_clear", [False, True], ids=["sealed", "clear"])
def test_every_type_of_field_survives_the_log(kind: Any, is_clear: bool) -> None:
    resource = declared(
        "Thing", {"a": as_clear(kind) if is_clear else kind, "b": str, "c": Clear[int]}
    )
    values = {"a": VALUES[kind], "b": "x", "c": 1}
    assert not resource.rules.faults(values)
    sealed, clear = resource.contents(values)
    event = resource.type.created(1, clear=clear, personal=sealed)
    assert decoded(resource, event) == (sealed, clear)
    assert as_declared(getattr(clear if is_clear else sealed, "a")) == VALUES[kind]  # noqa: B009


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_declaration_is_the_same_after_the_log(kind: Any) -> None:
    """Otherwise every start would declare the kind again."""
    made = msgspec.field(default_factory=lambda: VALUES[kind])
    for field in (kind, (kind, made)):
        declaration = declared("Thing", {"a": field}).type.declaration
        assert declaration is not None
        line = msgspec.json.encode(declaration)
        assert msgspec.json.decode(line, type=SchemaDeclared) == declaration


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        (dt.datetime, ONE_IN_CET, NOON),
        (dt.datetime | None, ONE_IN_CET, NOON),
        (list[dt.datetime], [ONE_IN_CET], [NOON]),
        (dict[str, dt.datetime], {"x": ONE_IN_CET}, {"x": NOON}),
        (Part, Part("wheel", ONE_IN_CET), Part("wheel", NOON)),
    ],
    ids=str,
)
def test_times_are_stored_in_utc(kind: Any, given: Any, stored: Any) -> None:
    content, _ = declared("Thing", {"a": kind}).contents({"a": given})
    assert msgspec.json.encode(content) == msgspec.json.encode({"a": stored})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "x" * 5_001),
        (str, "a\0b"),
        (str, "a\u202eb"),
        (int, 2**63),
        (int, -(2**63) - 1),
        (dt.datetime, dt.datetime(2026, 1, 1)),  # noqa: DTZ001 - without a zone
        (Annotated[str, Meta(pattern="^[A-Z]+$")], "abc"),
        (Annotated[int, Meta(ge=0)], -1),
        (list[str], ["x" * 5_001]),
        (dict[str, int], {"a\0": 1}),
        (Part, Part("")),
        (Literal["a"], "b"),
        (bool, 1),
    ],
    ids=str,
)
def test_limits_apply_to_input_and_not_to_events(kind: Any, value: Any) -> None:
    (fault,) = declared("Thing", {"a": kind}).rules.faults({"a": value})
    assert fault.pointer.startswith("/a")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value: float) -> None:
    """An action could return others; they would not survive the log, or not a comparison."""
    for kind, wrong, right in (
        (float, value, 1.5),
        (float | None, value, None),
        (list[float], [value], [1.5]),
        (dict[str, float], {"x": value}, {"x": 1.5}),
        (Decimal, Decimal(value), Decimal("1.5")),
    ):
        rules = declared("Thing", {"a": kind}).rules
        rules.check(a=right)
        with pytest.raises(Invalid) as caught:
            rules.check(a=wrong)
        assert caught.value.faults[-1] == Fault("/a", "must be a finite number")


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Annotated[str, Meta(max_length=2)], "xyz"), (Annotated[int, Meta(ge=0)], -1), (str, "\0")],
    ids=str,
)
def test_older_values_beyond_a_limit_are_read(kind: Any, value: Any) -> None:
    resource = declared("Thing", {"a": kind})
    assert resource.rules.faults({"a": value})
    decode = Vocabulary([resource.type]).decoders["thing.created"].personal
    assert decode is not None
    assert decode(msgspec.json.encode({"a": value})).a == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Part, {"partName": ""}),
        (list[Part], [{"partName": ""}]),
        (dict[str, Part | None], {"x": {"partName": ""}}),
        (Whole, {"parts": [{"partName": ""}]}),
    ],
    ids=str,
)
def test_older_values_of_a_struct_beyond_a_limit_are_read(kind: Any, value: Any) -> None:
    resource = declared("Thing", {"a": kind})
    assert resource.rules.faults({"a": value})
    decode = Vocabulary([resource.type]).decoders["thing.created"].personal
    assert decode is not None
    found = decode(msgspec.json.encode({"a": value})).a
    again = msgspec.json.decode(msgspec.json.encode(found), type=resource.type.fields[0].type)
    assert again == found


def test_an_action_gets_the_structs_of_the_declaration() -> None:
    resource = declared("Thing", {"a": Whole, "b": list[Part]})
    whole = Whole([Part("x", NOON)])
    content, _ = resource.contents({"a": whole, "b": [Part("y")]})
    assert content is not None
    value: Any = resource.value_of(resource.type.entity(1, *astuple(content), 1, "", "", 1))
    assert value == resource.cls(a=whole, b=[Part("y")])
    assert type(value.a.parts[0]) is Part


def test_two_fields_can_have_the_same_struct() -> None:
    resource = declared("Thing", {"a": Part, "b": list[Part]})
    assert resource.type.declaration is not None
    assert resource.type.declaration.schema["$defs"].keys() == {"Part", "Color"}


def test_blank_replaces_a_value_whose_key_is_destroyed() -> None:
    resource = declared("Thing", {"a": str, "b": int, "c": (int, 7)})
    blank: Any = resource.type.blank
    assert (blank.a, blank.b, blank.c) == ("", None, 7)
