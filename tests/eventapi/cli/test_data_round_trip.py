"""Rows of a file: every value of a resource survives its export and import."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventapi.cli.rows import Format, Rows
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import VERSIONS
from eventapi.resources.declared import Declared
from tests.eventapi.cli.test_data import FORMATS, REGISTRY, TIME
from tests.shop import Invoice, Line, Tax

PLAIN = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"],
        exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
    max_size=5,
)
TEXTS = PLAIN | st.sampled_from(
    [
        "",
        '"',
        '""',
        '"a"',
        "null",
        "true",
        "5",
        "1.5",
        "[1]",
        "a\nb",
        "a\r\nb",
        "\r",
        "\t",
        ",",
        "=1",
    ]
)
INVOICES = st.builds(
    Invoice,
    number=st.from_regex(r"\A[A-Z0-9-]{1,20}\Z"),
    cents=st.integers(0, 2**63 - 1),
    note=st.none() | TEXTS,
    barcode=st.none() | TEXTS,
    due=st.none() | st.dates(),
    paid=st.booleans(),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LINES = st.builds(
    Line,
    invoice=st.integers(-(2**63), 2**63 - 1),
    text=TEXTS,
    price=st.decimals(allow_nan=False, allow_infinity=False),
    count=st.none() | st.integers(-9, 9),
    unit=st.sampled_from(["piece", "hour"]),
    ratio=FLOATS,
    others=st.lists(st.integers(0, 9), max_size=3),
    taxes=st.lists(st.builds(Tax, name=TEXTS, rate=FLOATS), max_size=2),
    mixed=st.none() | st.integers(-9, 9) | st.booleans() | TEXTS,
)


def round_trip(kind: Declared, values: list[Any], form: Format) -> list[dict[str, Any]]:
    shape = shape_of(kind, VERSIONS[-1])
    rows, out = Rows(shape), io.BytesIO()
    entities = [
        kind.type.entity(
            number,
            *(getattr(value, name) for name in kind.type.names),
            1,
            TIME,
            TIME,
            number,
        )
        for number, value in enumerate(values, 1)
    ]
    rows.write((shape.view_of(entity, "ann") for entity in entities), out, form)
    found, faults = rows.read(io.BytesIO(out.getvalue()), form)
    assert faults == []
    assert [(row.number, row.created_at) for row in found] == [
        (number, TIME) for number in range(1, len(values) + 1)
    ]
    return [dict(row.values) for row in found]


@pytest.mark.parametrize("form", FORMATS)
@given(values=st.lists(INVOICES, max_size=4))
def test_every_invoice_survives_export_and_import(form: Format, values: list[Invoice]) -> None:
    found = round_trip(REGISTRY.by_collection["invoices"], values, form)
    assert found == [msgspec.structs.asdict(value) for value in values]


@pytest.mark.parametrize("form", FORMATS)
@given(values=st.lists(LINES, max_size=4))
@example(values=[Line(invoice=1, price=Decimal("1.50"), ratio=-0.0, mixed="")])
def test_every_line_survives_export_and_import(form: Format, values: list[Line]) -> None:
    found = round_trip(REGISTRY.by_collection["lines"], values, form)
    assert msgspec.json.encode(found) == msgspec.json.encode(
        [msgspec.structs.asdict(value) for value in values]
    )


def test_control_a_csv_of_plain_texts_would_lose_the_difference_of_null_and_empty() -> None:
    out = io.StringIO()
    csv.writer(out).writerows([[None, "x"], ["", "x"]])
    first, second = csv.reader(io.StringIO(out.getvalue()))
    assert first == second
    invoices = [
        Invoice(number="A", cents=1, note=note, due=date(2026, 1, 1)) for note in (None, "")
    ]
    found = round_trip(REGISTRY.by_collection["invoices"], invoices, "csv")
    assert [one["note"] for one in found] == [None, ""]
