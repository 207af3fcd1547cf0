"""Faults inside lists, dicts and nested Structs: the place, and the words of the inner type."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from eventapi.values.validation import RULE, faults_of


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
        ({"by_name": {"one": {"size": "x"}}}, "/by_name/.../size", "must be m or s"),
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
        ("price", "must be a decimal number as a string"),
    ],
)
def test_a_text_of_another_form_gets_a_fault_that_names_the_form(name: str, detail: str) -> None:
    (fault,) = faults_of({name: "another form"}, Moments)
    assert (fault.pointer, fault.detail) == (f"/{name}", detail)
