"""Which declarations can read the events of which older ones."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from eventapi.resources import Clear, Global, action
from eventapi.resources.declared import Declared
from events.vocabulary.compatibility import changed_defaults
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import contradictions
from tests.eventapi.resources.declaring import declared


class Size(enum.Enum):
    """A size, as it was."""

    SMALL = "small"
    LARGE = "large"


class MoreSizes(enum.Enum):
    """A size, with one more value."""

    SMALL = "small"
    LARGE = "large"
    HUGE = "huge"


class Address(msgspec.Struct):
    """An address, as it was."""

    street: str


class LongerAddress(msgspec.Struct):
    """An address with a new member that has a default."""

    street: str
    country: str = "AT"


class StrictAddress(msgspec.Struct):
    """An address with a new member that is required."""

    street: str
    country: str


@action
def pay(self: Any) -> Any:
    """Do something."""
    return self


def invoice(fields: Mapping[str, Any], **members: Any) -> Declared:
    """A declaration of the kind ``invoice``."""
    return declared("Invoice", fields, **members)


def declaration_of(resource: Declared) -> SchemaDeclared:
    """The declaration of a kind, as it is read from a log."""
    return msgspec.json.decode(msgspec.json.encode(resource.type.declaration), type=SchemaDeclared)


def faults(old: Declared, new: Declared) -> list[str]:
    """The reasons why ``new`` cannot read the events of ``old``."""
    before = old.type.declaration
    assert before is not None
    written = msgspec.json.decode(msgspec.json.encode(before), type=SchemaDeclared)
    return contradictions(new.type, written, old.collection)


ShortKey = Annotated[str, Meta(max_length=2)]


def limited(kind: Any, **limits: Any) -> Any:
    return Annotated[kind, Meta(**limits)]


READABLE: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing changed": ({"a": str}, {"a": str}),
    "other order": ({"a": str, "b": int}, {"b": int, "a": str}),
    "new field with a default": ({"a": str}, {"a": str, "b": (int, 0)}),
    "new clear field with a default": ({"a": str}, {"a": str, "b": (Clear[int], 0)}),
    "new optional field": ({"a": str}, {"a": str, "b": (int | None, None)}),
    "new list": ({"a": str}, {"a": str, "b": (list[str], [])}),
    "a default where there was none": ({"a": str}, {"a": (str, "x")}),
    "another default": ({"a": (str, "x")}, {"a": (str, "y")}),
    "shorter minimum": ({"a": limited(str, min_length=2)}, {"a": limited(str, min_length=1)}),
    "longer maximum": ({"a": limited(str, max_length=2)}, {"a": limited(str, max_length=3)}),
    "longer maximum than the usual": ({"a": str}, {"a": limited(str, max_length=9_000)}),
    "no pattern any more": ({"a": limited(str, pattern="^a$")}, {"a": str}),
    "lower minimum": ({"a": limited(int, ge=1)}, {"a": limited(int, ge=0)}),
    "minimum instead of an open bound": ({"a": limited(int, gt=0)}, {"a": limited(int, ge=1)}),
    "open bound of a float": ({"a": limited(float, gt=0)}, {"a": limited(float, ge=0)}),
    "no bound": ({"a": limited(float, gt=0, le=9)}, {"a": float}),
    "greatest integers": ({"a": limited(int, le=2**63 - 2)}, {"a": limited(int, le=2**63 - 1)}),
    "divisor of a multiple": (
        {"a": limited(int, multiple_of=10)},
        {"a": limited(int, multiple_of=5)},
    ),
    "optional": ({"a": str}, {"a": str | None}),
    "wider union": ({"a": int | None}, {"a": int | str | None}),
    "integer to number": ({"a": int}, {"a": float}),
    "optional integer to number": ({"a": int | None}, {"a": float | None}),
    "more values of an enum": ({"a": Size}, {"a": MoreSizes}),
    "enum to a literal of its values": ({"a": Size}, {"a": Literal["large", "small"]}),
    "literal to text": ({"a": Literal["x"]}, {"a": str}),
    "literal with null to optional text": ({"a": Literal["x"] | None}, {"a": str | None}),
    "literal of integers to number": ({"a": Literal[1, 2]}, {"a": float}),
    "elements": ({"a": list[int]}, {"a": list[float | None]}),
    "members": ({"a": dict[str, int]}, {"a": dict[str, float]}),
    "longer keys": (
        {"a": dict[ShortKey, int]},
        {"a": dict[Annotated[str, Meta(max_length=3)], int]},
    ),
    "more elements": (
        {"a": limited(list[int], max_length=1)},
        {"a": limited(list[int], max_length=2)},
    ),
    "nested member with a default": ({"a": Address}, {"a": LongerAddress}),
}


@pytest.mark.parametrize("case", READABLE)
def test_declaration_that_accepts_more_is_readable(case: str) -> None:
    old, new = READABLE[case]
    assert faults(invoice(old), invoice(new)) == []


WIDEN = "a: the type is narrower than before; widen it, or add an upcast"

UNREADABLE: Mapping[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "removed": (
        {"a": str, "b": int},
        {"b": int},
        'a: the field is missing; add renamed = {"a": ...} or an upcast',
    ),
    "renamed": (
        {"b": int},
        {"a": (int, 0)},
        'b: the field is missing; add renamed = {"b": ...} or an upcast',
    ),
    "new without a default": (
        {"b": int},
        {"b": int, "a": str},
        "a: the field is new and has no default; give it one, or add an upcast",
    ),
    "default taken away": (
        {"a": (str, "x")},
        {"a": str},
        "a: the field has no default any more; give it one, or add an upcast",
    ),
    "Clear given": (
        {"a": str},
        {"a": Clear[str]},
        "a: it is Clear now; add a field of another name instead",
    ),
    "Clear taken away": (
        {"a": Clear[str]},
        {"a": str},
        "a: it is not Clear any more; add a field of another name instead",
    ),
    "another type": ({"a": str}, {"a": int}, WIDEN),
    "number to integer": ({"a": float}, {"a": int}, WIDEN),
    "boolean to integer": ({"a": bool}, {"a": int}, WIDEN),
    "integer to text": ({"a": int}, {"a": str}, WIDEN),
    "text to date": ({"a": str}, {"a": dt.date}, WIDEN),
    "literal to date": ({"a": Literal["x"]}, {"a": dt.date}, WIDEN),
    "literal to a pattern": ({"a": Literal["x"]}, {"a": limited(str, pattern="^y$")}, WIDEN),
    "literal to a shorter text": (
        {"a": Literal["xyz"]},
        {"a": limited(str, max_length=2)},
        WIDEN,
    ),
    "literal of integers to a bound": ({"a": Literal[1]}, {"a": limited(int, ge=2)}, WIDEN),
    "date to UUID": ({"a": dt.date}, {"a": UUID}, WIDEN),
    "not optional any more": ({"a": str | None}, {"a": str}, WIDEN),
    "fewer values of an enum": ({"a": MoreSizes}, {"a": Size}, WIDEN),
    "text to enum": ({"a": str}, {"a": Size}, WIDEN),
    "longer minimum": ({"a": str}, {"a": limited(str, min_length=1)}, WIDEN),
    "shorter maximum": ({"a": str}, {"a": limited(str, max_length=4_999)}, WIDEN),
    "a pattern": ({"a": str}, {"a": limited(str, pattern="^a$")}, WIDEN),
    "another pattern": (
        {"a": limited(str, pattern="^b$")},
        {"a": limited(str, pattern="^a$")},
        WIDEN,
    ),
    "higher minimum": ({"a": int}, {"a": limited(int, ge=0)}, WIDEN),
    "open bound": ({"a": limited(float, ge=0)}, {"a": limited(float, gt=0)}, WIDEN),
    "greatest integers": (
        {"a": limited(int, le=2**63 - 1)},
        {"a": limited(int, le=2**63 - 2)},
        WIDEN,
    ),
    "multiple": ({"a": int}, {"a": limited(int, multiple_of=5)}, WIDEN),
    "elements": ({"a": list[float]}, {"a": list[int]}, WIDEN),
    "fewer elements": ({"a": list[int]}, {"a": limited(list[int], max_length=1)}, WIDEN),
    "members": ({"a": dict[str, float]}, {"a": dict[str, int]}, WIDEN),
    "shorter keys": (
        {"a": dict[str, int]},
        {"a": dict[ShortKey, int]},
        WIDEN,
    ),
    "required nested member": ({"a": Address}, {"a": StrictAddress}, WIDEN),
    "removed nested member": ({"a": LongerAddress}, {"a": Address}, WIDEN),
    "dict to Struct": ({"a": dict[str, str]}, {"a": Address}, WIDEN),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_declaration_that_accepts_less_is_refused_with_the_field_and_the_cure(case: str) -> None:
    old, new, fault = UNREADABLE[case]
    assert faults(invoice(old), invoice(new)) == [fault]


def test_all_faults_are_reported() -> None:
    old = invoice({"a": str, "b": int, "c": Clear[int]}, pay=pay)
    found = faults(old, invoice({"b": str, "c": int, "d": int}))
    assert [one.partition(":")[0] for one in found] == ["c", "pay", "a", "b", "d"]


# Actions, unique values, names


def test_new_action_is_readable_and_a_lost_one_is_not() -> None:
    without, with_action = invoice({"a": int}), invoice({"a": int}, pay=pay)
    assert faults(without, with_action) == []
    (fault,) = faults(with_action, without)
    assert fault == "pay: the action is missing; keep it, and let it raise Refused"


FIELDS = {"a": str, "b": str}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((), ()),
        (("a",), ()),
        (("a",), ("a",)),
        (("a",), (("a", "b"),)),
        ((Global("a"),), ("a",)),
        ((Global("a"),), (Global("a", "b"),)),
        (("a", "b"), ("b",)),
    ],
)
def test_unique_values_that_the_log_guarantees_are_readable(old: Any, new: Any) -> None:
    assert faults(invoice(FIELDS, unique=old), invoice(FIELDS, unique=new)) == []


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ((), ("a",), "a"),
        (("a",), (Global("a"),), "a"),
        ((("a", "b"),), ("b",), "b"),
        (("a",), (("b",),), "b"),
        ((), (("a", "b"),), "a, b"),
    ],
)
def test_new_unique_values_are_refused(old: Any, new: Any, name: str) -> None:
    (fault,) = faults(invoice(FIELDS, unique=old), invoice(FIELDS, unique=new))
    assert fault == (
        f"{name}: it is unique now, and values in the log may not be; leave `unique` as it was, "
        "or add an upcast"
    )


class OtherAddress(msgspec.Struct):
    """An address with another default."""

    street: str
    country: str = "DE"


DEFAULTS: Mapping[str, tuple[list[dict[str, Any]], list[str]]] = {
    "of a field that was always there": ([{"a": (str, "x")}, {"a": (str, "y")}], []),
    "of a new field": ([{"a": str}, {"a": str, "b": (str, "x")}], []),
    "of a field added later": (
        [{"a": str}, {"a": str, "b": (str, "x")}, {"a": str, "b": (str, "y")}],
        ["b"],
    ),
    "and back again": (
        [
            {"a": str},
            {"a": str, "b": (str, "x")},
            {"a": str, "b": (str, "y")},
            {"a": str, "b": (str, "x")},
        ],
        [],
    ),
    "of a member added later": (
        [{"a": list[Address]}, {"a": list[LongerAddress]}, {"a": list[OtherAddress]}],
        ["a.country"],
    ),
    "of a member in a dict": (
        [
            {"a": dict[str, Address | None]},
            {"a": dict[str, LongerAddress | None]},
            {"a": dict[str, OtherAddress | None]},
        ],
        ["a.country"],
    ),
    "of a member of a field that is new itself": (
        [
            {"b": int},
            {"b": int, "a": (LongerAddress | None, None)},
            {"b": int, "a": (OtherAddress | None, None)},
        ],
        [],
    ),
}


@pytest.mark.parametrize("case", DEFAULTS)
def test_a_default_that_older_events_are_read_with_stays(case: str) -> None:
    versions, names = DEFAULTS[case]
    *olds, new = [declaration_of(invoice(fields)) for fields in versions]
    found = changed_defaults(olds, new, {})
    assert [one.partition(":")[0] for one in found] == names


def test_a_new_name_of_a_field_hides_no_changed_default() -> None:
    olds = [invoice({"a": str}), invoice({"a": str, "b": (str, "x")})]
    new = invoice({"a": str, "c": (str, "y")}, renamed={"b": "c"})
    (fault,) = changed_defaults([*map(declaration_of, olds)], declaration_of(new), {"b": "c"})
    assert fault == (
        'c: the default was "x", and older events without the field are read with it; '
        "give it this default again"
    )


def test_renamed_field_is_readable_with_the_new_name() -> None:
    old = invoice({"a": limited(str, max_length=9), "b": Clear[int]}, unique=("a",))
    fields = {"c": limited(str, max_length=9), "d": Clear[int]}
    assert faults(old, invoice(fields, unique=("c",), renamed={"a": "c", "b": "d"})) == []


def test_renaming_hides_no_other_change() -> None:
    """Control: an upcast accepts all of this."""
    old = invoice({"a": str, "b": str, "gone": str})
    fields = {"c": limited(str, max_length=9), "b": int, "new": int}
    found = faults(old, invoice(fields, renamed={"a": "c"}))
    assert [one.partition(":")[0] for one in found] == ["c", "b", "gone", "new"]
    upcast = staticmethod(lambda values: values)
    assert faults(old, invoice(fields, renamed={"a": "c"}, upcast=upcast)) == []


def test_neither_a_new_name_nor_an_upcast_changes_what_is_clear() -> None:
    upcast = staticmethod(lambda values: values)
    old = invoice({"a": Clear[int]})
    for members in ({"renamed": {"a": "b"}}, {"renamed": {"a": "b"}, "upcast": upcast}):
        (fault,) = faults(old, invoice({"b": int}, **members))
        assert fault == "b: it is not Clear any more; add a field of another name instead"


def test_new_name_that_the_log_uses_for_another_field_is_refused() -> None:
    old = invoice({"a": str, "b": str})
    (fault,) = faults(old, invoice({"b": str}, renamed={"a": "b"}))
    assert fault == "a: the log has the field b as well; rename it to a new name"


def test_another_collection_is_refused() -> None:
    old, new = invoice({"a": str}), invoice({"a": str}, collection="bills")
    (fault,) = faults(old, new)
    assert fault == ("collection: it is 'invoices' in the log; set collection = 'invoices' again")


def test_another_kind_in_the_same_collection_is_refused() -> None:
    old, new = invoice({"a": str}), declared("Bill", {"a": str}, collection="invoices")
    (fault,) = faults(old, new)
    assert fault == (
        "collection: the log has the kind 'invoice' in invoices; set another collection, "
        "or give the class its old name again"
    )


def test_built_in_kind_cannot_be_declared() -> None:
    from eventapi.testing.items import ITEM  # noqa: PLC0415

    old = declared("Invoice", {"a": str}, collection="items").type.declaration
    assert old is not None
    (fault,) = contradictions(ITEM.type, msgspec.structs.replace(old, kind="item"), "items")
    assert fault.startswith("item: it is built in")
