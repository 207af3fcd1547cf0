"""Lists of a past moment, read a few rows at a time, against the rows as they were then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.queries.history import History
from events.record import Record
from tests.eventapi.http.client import Caller
from tests.eventapi.http.resources.kinds import SAMPLES
from tests.eventapi.http.resources.list_model import VALUES, Wanted, rows, wanted_lists
from tests.eventapi.http.resources.server import ResourceApi
from tests.eventapi.http.resources.test_lists import only, pages_of

Row = dict[str, Any]

ROW = {name: values[0] for name, values in VALUES.items()}

changes = st.tuples(
    st.sampled_from(["create", "put", "patch", "patch", "delete", "restore", "restore"]),
    st.integers(0, 5),
    rows,
    st.sampled_from([*VALUES]),
)


@pytest.fixture(autouse=True, scope="module")
def few_per_read() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventapi.http.routes.listing_past._PER_READ", 1)
        patch.setattr("eventapi.http.routes.listing_past._MOST_PER_READ", 4)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[ResourceApi]:
    with ResourceApi(SAMPLES) as running:
        yield running


class Past:
    """Rows that change, and all rows as they were after each change, by position."""

    def __init__(self, me: Caller, every: list[Row]) -> None:
        self.me = me
        self.rows: dict[int, Row] = {}
        self.moments: list[tuple[int, list[Row]]] = []
        self._all: list[int] = []
        for row in every:
            self.change("create", 0, row, "")

    def change(self, what: str, pick: int, row: Row, name: str) -> None:
        """Change a row if that is possible."""
        number = self._all[pick % len(self._all)] if self._all else 0
        path = f"/samples/{number}"
        if what == "create":
            answer = self.me.post("/samples", json=row)
            self._all.append(answer.json()["id"])
        elif what == "put":
            answer = self.me.put(path, json=row)
        elif what == "patch":
            answer = self.me.patch(path, json={name: row[name]})
        elif what == "delete":
            answer = self.me.delete(path)
            if answer.status_code == 204:
                del self.rows[number]
        else:
            answer = self.me.post(f"{path}/restore")
        if answer.status_code in {200, 201}:
            found = answer.json()
            self.rows[found["id"]] = found
        if "event-position" in answer.headers:
            position = int(answer.headers["event-position"])
            self.moments.append((position, [self.rows[one] for one in sorted(self.rows)]))


@given(st.lists(rows, min_size=1, max_size=6), st.lists(changes, max_size=14), st.data())
def test_the_pages_are_the_list_of_the_rows_as_they_were(
    server: ResourceApi, every: list[Row], later: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    past = Past(server.user(), every)
    for change in later:
        past.change(*change)

    for _ in range(3):
        position, then = data.draw(st.sampled_from(past.moments))
        wanted: Wanted = data.draw(wanted_lists)
        expected = [only(row, wanted) for row in wanted.of(then)]

        found = list(pages_of(past.me, wanted.query | {"as_of": str(position)}))

        assert [row for page in found for row in page["items"]] == expected
        assert all(len(page["items"]) == wanted.limit for page in found[:-1])
        assert {page.get("count") for page in found} == {len(expected) if wanted.count else None}


@pytest.fixture(scope="module")
def twice_changed() -> Iterator[Past]:
    """20 rows that were changed twice: one field, then all of them."""
    with ResourceApi(SAMPLES) as server:
        past = Past(server.user(), [ROW] * 20)
        for what in ("patch", "put"):
            for pick in range(20):
                past.change(what, pick, ROW | {"text": "A b"}, "text")
        yield past


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ({"sort": "-created_at"}, 0),
        ({"sort": "version", "count": "true"}, 0),
        ({"id.ge": "1", "count": "true"}, 0),
        ({"sort": "text"}, 20),
        ({"sort": "-updated_at"}, 20),
        ({"text.prefix": "A", "count": "true"}, 20),
        ({"sort": "whole"}, 40),
    ],
)
def test_a_list_of_the_past_decodes_only_lines_that_have_what_it_compares(
    twice_changed: Past, query: dict[str, str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the two lines of the row on its page."""
    position, then = twice_changed.moments[39]
    decoded: list[int] = []
    slices = History.slices

    def counted(history: History, positions: Sequence[int]) -> AsyncIterator[list[Record]]:
        decoded.extend(positions)
        return slices(history, positions)

    monkeypatch.setattr(History, "slices", counted)

    page = next(pages_of(twice_changed.me, {"limit": "1", "as_of": str(position)} | query))

    assert page["items"][0] in then
    assert page.get("count", 20) == 20
    assert len(decoded) == most + 2
