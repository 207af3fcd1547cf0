"""Orders of lists: sorting beside other requests, and rows behind a cursor."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.queries.orders import Backwards, Rows, sorted_entities
from eventapi.queries.selection import columns_of
from eventapi.queries.selection_parsing import parse_selection
from eventapi.testing.items import ITEM, Item
from events.vocabulary.resources import Entity
from tests.eventapi.http.resources.kinds import SAMPLES


def items(count: int) -> list[Entity]:
    """Items whose titles are in another order than their numbers."""
    return [
        Item(number, f"title {number * 7 % count:06}", None, 1, "", "", number)
        for number in range(1, count + 1)
    ]


def key_of(text: str) -> Callable[[Entity], Any]:
    faults: list[Any] = []
    selection = parse_selection(columns_of(ITEM), {"sort": [text]}, faults)
    assert faults == []
    return selection.key(str)


def turns_during(work: Coroutine[Any, Any, object]) -> int:
    """How often another task runs during some work."""

    async def counted() -> int:
        turns, is_done = 0, False

        async def tick() -> None:
            nonlocal turns
            while not is_done:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(tick())
        await work
        is_done = True
        await task
        return turns

    return asyncio.run(counted())


@pytest.mark.parametrize("count", [0, 1, 1_999, 2_000, 2_001, 9_999])
@pytest.mark.parametrize("text", ["title", "-title", "-id", "description,-title"])
def test_rows_are_sorted_as_python_sorts_them(count: int, text: str) -> None:
    every, key = items(count), key_of(text)
    assert asyncio.run(sorted_entities(every, key)) == sorted(every, key=key)


def test_other_requests_run_while_many_rows_are_sorted() -> None:
    assert turns_during(sorted_entities(items(20_000), key_of("-title"))) > 20


def test_control_a_plain_sort_lets_no_other_request_run() -> None:
    async def at_once() -> object:
        return sorted(items(20_000), key=key_of("-title"))

    assert turns_during(at_once()) <= 2


@given(st.lists(st.text(max_size=3), min_size=2, max_size=2))
def test_texts_descend_as_python_compares_them(texts: list[str]) -> None:
    one, other = (Item(at, text, None, 1, "", "", at) for at, text in enumerate(texts, 1))
    if "\0" not in "".join(texts) and texts[0] != texts[1]:
        key = key_of("-title")
        assert (key(one) < key(other)) is (texts[0] > texts[1])


values = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "money": st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("1E+999")),
    "day": st.dates(),
    "moment": st.datetimes(timezones=st.just(dt.UTC)),
    "maybe_whole": st.none() | st.integers(-1, 1),
    "maybe_day": st.none() | st.dates(),
}


@pytest.mark.parametrize("name", values)
def test_a_cursor_has_the_key_of_its_row(name: str) -> None:
    sample = SAMPLES.by_collection["samples"]
    blank = {field.name: field.blank for field in sample.type.fields}
    order = [field.name for field in (*sample.type.sealed, *sample.type.clear)]

    @given(values[name], values[name], st.booleans())
    def check(value: Any, other: Any, descending: bool) -> None:
        rows = [
            sample.type.entity(
                number, *((blank | {name: one})[field] for field in order), 1, "", "", number
            )
            for number, one in enumerate((value, other), 1)
        ]
        text = f"{'-' if descending else ''}{name}"
        selection = parse_selection(columns_of(sample), {"sort": [text]}, [])
        key = selection.key(str)
        assert [selection.key_of_cursor(selection.cursor(row, str)) for row in rows] == [
            key(row) for row in rows
        ]
        if None not in {value, other} and value != other:
            assert (key(rows[0]) < key(rows[1])) is ((value < other) is not descending)

    check()


@given(st.lists(st.integers(), max_size=6), st.integers(0, 8), st.none() | st.integers(0, 8))
def test_numbers_backwards_are_those_of_a_reversed_copy(
    numbers: Sequence[int], start: int, end: int | None
) -> None:
    backwards, copy = Backwards(numbers), numbers[::-1]
    assert (list(backwards), len(backwards)) == (copy, len(copy))
    assert backwards[start:end] == copy[start:end]


def test_rows_begin_behind_a_cursor_also_if_its_row_is_gone() -> None:
    every, key = items(9), key_of("-title")
    ordered = sorted(every, key=key)
    rows = Rows(ordered[:3] + ordered[4:], lambda entity: entity)
    assert [rows.behind(key(one), key) for one in ordered] == [1, 2, 3, 3, 4, 5, 6, 7, 8]
    assert rows.part(rows.behind(key(ordered[3]), key), 4) == ordered[4:5]
