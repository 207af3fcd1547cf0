"""Values that stand as texts in a query: strict, and of the wanted type."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from eventapi.values.explanations import explain
from eventapi.values.texts import value_of_text


class Number(enum.Enum):
    """An enumeration of numbers."""

    ONE = 1


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", int, 5),
        ("-5", int | None, -5),
        ("5", float, 5.0),
        ("1e3", float, 1000.0),
        ("5", str, "5"),
        ("true", str, "true"),
        ("true", bool, True),
        ("2", Literal["a", 2], 2),
        ("1", Number, Number.ONE),
        ("1.50", Decimal, Decimal("1.50")),
        ("1E+2", Decimal | None, Decimal(100)),
        ("2026-01-01", date, date(2026, 1, 1)),
        ("2026-01-01T00:00:00Z", datetime, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_text_is_the_value_of_its_type(text: str, kind: Any, value: Any) -> None:
    found = value_of_text(text, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        *((text, int, "must be a whole number") for text in ("1e3", "1.0", "+1", "01", " 1", "")),
        ("-0", int, "must be a whole number"),
        ("\u0661", int, "must be a whole number"),
        ("null", int | None, "must be a whole number"),
        *((text, float, "must be a number") for text in ("nan", "inf", "1e999", ".5", "1_0")),
        *(
            (text, Decimal, "must be a decimal number such as 1.50")
            for text in ("1_0", " 5", "\u0663", "+5", ".5", "5.", "NaN", "Infinity", "x")
        ),
        *((text, bool, "must be true or false") for text in ("1", "True", "yes")),
        ("0", datetime, "must be a time such as 2026-01-31T12:00:00Z"),
        ("5", date, "must be a date such as 2026-01-31"),
        ("-1", Annotated[int, Meta(ge=0)], "must be at least 0"),
        ("12", Annotated[str, Meta(max_length=1)], "must have at most 1 character"),
        ("2", Number, "must be 1"),
        ("1.0", Number, "must be a whole number"),
        ("9" * 5_000, int, "must be a whole number"),
    ],
)
def test_a_text_of_another_form_is_refused(text: str, kind: Any, detail: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        value_of_text(text, kind)
    assert explain(caught.value, kind, is_text=True).detail == detail


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_what_json_has_for_a_number_is_its_text(number: float) -> None:
    assert value_of_text(msgspec.json.encode(number).decode(), type(number)) == number
