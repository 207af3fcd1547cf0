"""Lists of declared resources against a plain model, and under changes between two pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.http.lists.parsing import parse_listing
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import V2
from eventapi.queries.selection import columns_of
from eventapi.queries.selection_parsing import parse_selection
from events.errors import Fault
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.kinds import SAMPLES
from tests.eventapi.http.resources.list_model import SORTED, VALUES, Wanted, rows, wanted_lists
from tests.eventapi.http.resources.server import ResourceApi

Page = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ResourceApi]:
    with ResourceApi(SAMPLES) as running:
        yield running


@pytest.fixture(scope="module")
def lister(server: ResourceApi) -> Caller:
    """A user with a few samples, the first with the first value of each field."""
    me = server.user()
    for at in range(4):
        row = {name: values[at % len(values)] for name, values in VALUES.items()}
        assert me.post("/samples", json=row).status_code == 201
    return me


def create(me: Caller, row: dict[str, Any]) -> dict[str, Any]:
    answer = me.post("/samples", json=row)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def page_of(me: Caller, url: str, **query: str) -> Page:
    """One page; ``url`` is a path or the address of a next page."""
    answer = me.api.request("GET", url, token=me.token, **({"params": query} if query else {}))
    assert answer.status_code == 200, answer.text
    page: Page = answer.json()
    assert answer.links.get("next", {}).get("url") == page["next"]
    return page


def pages_of(me: Caller, query: dict[str, str]) -> Iterator[Page]:
    page = page_of(me, f"{me.prefix}/samples", **query)
    yield page
    while page["next"] is not None:
        page = page_of(me, page["next"])
        yield page


def only(row: Any, wanted: Wanted) -> Any:
    return row if wanted.fields is None else {name: row[name] for name in wanted.fields}


@given(st.lists(rows, max_size=9), wanted_lists)
def test_the_pages_are_the_list_of_the_model(
    server: ResourceApi, every: list[dict[str, Any]], wanted: Wanted
) -> None:
    me = server.user()
    created = [create(me, row) for row in every]
    position = created[-1]["version"] if created else 0
    expected = [only(row, wanted) for row in wanted.of(created)]

    for as_of in ({}, {"as_of": str(position)}):
        if as_of and created:
            create(me, every[0])  # The past does not have it.
            assert me.delete(f"/samples/{created[0]['id']}").status_code == 204
        found = list(pages_of(me, wanted.query | as_of))

        assert [row for page in found for row in page["items"]] == expected
        assert all(len(page["items"]) == wanted.limit for page in found[:-1])
        counts = {page.get("count") for page in found}
        assert counts == {len(expected) if wanted.count else None}


@pytest.mark.parametrize("past", [{}, {"as_of": "now"}])
@pytest.mark.parametrize("order", [{"order": "desc"}, {"sort": "-id"}])
def test_a_counted_list_keeps_a_descending_order(
    server: ResourceApi, past: dict[str, str], order: dict[str, str]
) -> None:
    me = server.user()
    row = {name: values[0] for name, values in VALUES.items()}
    created = [create(me, row)["id"] for _ in range(5)]
    point = {name: str(server.log.position) for name in past}

    found = list(pages_of(me, {"limit": "2", "count": "true"} | order | point))

    assert [row["id"] for page in found for row in page["items"]] == created[::-1]
    assert {page["count"] for page in found} == {5}


changes = st.tuples(
    st.sampled_from(["create", "delete", "delete listed", "update"]), st.integers(0, 9), rows
)


@given(st.lists(rows, min_size=3, max_size=9), wanted_lists, st.lists(changes, max_size=12))
def test_rows_that_stay_are_neither_skipped_nor_repeated(
    server: ResourceApi,
    every: list[dict[str, Any]],
    wanted: Wanted,
    later: list[tuple[str, int, dict[str, Any]]],
) -> None:
    me = server.user()
    alive = {row["id"]: row for row in (create(me, row) for row in every)}
    staying = dict(alive)
    listed: list[int] = []

    # The cursor must not need a field that the client leaves out, so `fields` has the number only.
    for page in pages_of(me, wanted.query | {"fields": "id"}):
        listed += [row["id"] for row in page["items"]]
        for what, pick, row in later[:3]:
            if what == "create":
                new = create(me, row)
                alive[new["id"]] = new
                continue
            candidates = (
                [one for one in listed if one in alive] if "listed" in what else list(alive)
            )
            if not candidates:
                continue
            number = candidates[pick % len(candidates)]
            staying.pop(number, None)
            if what == "update":
                alive[number] = me.put(f"/samples/{number}", json=row).json()
            else:
                assert me.delete(f"/samples/{number}").status_code == 204
                del alive[number]
        del later[:3]

    expected = [row["id"] for row in wanted.of(list(staying.values()))]
    assert [number for number in listed if number in staying] == expected


@pytest.mark.parametrize("name", SORTED)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_list_is_sorted_by_every_ordered_field(lister: Caller, name: str, sign: str) -> None:
    every = [row for page in pages_of(lister, {}) for row in page["items"]]
    expected = Wanted((), [(name, sign == "-")], None, 100, False, None).of(every)

    assert next(pages_of(lister, {"sort": sign + name}))["items"] == expected
    paged = pages_of(lister, {"sort": sign + name, "limit": "1"})
    assert [row for page in paged for row in page["items"]] == expected


@pytest.mark.parametrize(
    "query",
    [
        *("nope=1", "text.nope=1", "text.=x", ".eq=1", "limit.lt=x", "q.eq=maybe", "flag=1"),
        *(
            "flag.lt=true",
            "whole=x",
            "whole=1.0",
            "whole=01",
            "whole=null",
            "whole=",
            "whole.in=1,",
        ),
        *("real=nan", "real.lt=inf", "real=x", "money=NaN", "money.ge=sNaN", "money.in=1,Infinity"),
        *("day=2026-13-01", "day=99999-01-01", "maybe_day=", "maybe_day.null=1", "key=1"),
        *("moment=2026-01-01T00:00:00", "moment.gt=0001-01-01T00:00:00%2B10:00"),
        *("color=green", "color.lt=red", "color.prefix=r", "size=xl", "place=1", "place.eq=1"),
        *(
            "words=a",
            "words.eq=a",
            "id=x",
            "id.contains=1",
            "owner.null=no",
            "created_at=yesterday",
        ),
        *("created_at.prefix=2026", "updated_at.le=2026-01-01T00:00:00", "version=1", "items=1"),
        *("fields=", "fields=nope", "fields=id,", "fields=id,nope", "count=1", "count=", "sort="),
        *("sort=nope", "sort=-", "sort=place", "sort=words", "sort=text,,id", "sort=--text"),
        *(
            "sort=+text",
            "after=x",
            "after=",
            "sort=text&after=1",
            "sort=text&after=AAAA",
            "limit=0",
        ),
        *("whole=1&whole=2", "as_of=x", "order=up", f"q={'x' * 201}"),
        *("sort=text&order=desc", "sort=id&order=desc", "sort=-id&count=true&order=desc"),
    ],
)
def test_a_wrong_parameter_is_named(lister: Caller, query: str) -> None:
    problem = assert_problem(lister.get(f"/samples?{query}"), 422, "validation-failed")

    name = next(reversed(parse_qs(query, keep_blank_values=True)))
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{name}"]


def test_a_time_that_has_no_date_in_utc_is_refused_in_plain_words(lister: Caller) -> None:
    answer = lister.get("/samples?moment.gt=0001-01-01T00:00:00%2B10:00")
    (fault,) = assert_problem(answer, 422, "validation-failed")["errors"]
    assert fault["detail"] == "must be a time from the year 1 to 9999 in UTC"


def test_the_default_order_may_stand_beside_sort(lister: Caller) -> None:
    """Generated clients send the default of a parameter."""
    for sort in ("-whole,text", "id"):
        assert (
            page_of(lister, "/api/v2/samples", sort=sort, order="asc", limit="2")["items"]
            == (page_of(lister, "/api/v2/samples", sort=sort, limit="2")["items"])
        )


def test_all_faults_of_a_query_are_reported_at_once(lister: Caller) -> None:
    query = "whole=x&nope=1&sort=place&fields=no&count=2&limit=0&text.lt=ok"
    problem = assert_problem(lister.get(f"/samples?{query}"), 422, "validation-failed")

    assert {fault["pointer"] for fault in problem["errors"]} == {
        *("/whole", "/nope", "/sort", "/fields", "/count", "/limit")
    }


@pytest.mark.parametrize(
    "forged",
    [
        # MessagePack of ["money", ["NaN", 1]], ["moment", ["2026-01-01T00:00:00", 1]], and others.
        ("money", "kqVtb25leZKjTmFOAQ"),
        ("money", "kqVtb25leZKkc05hTgE"),
        ("moment", "kqZtb21lbnSSszIwMjYtMDEtMDFUMDA6MDA6MDAB"),
        ("money", "kqVtb25leZLAAQ"),
        ("money", "kqVtb25leZKjMS4xwA"),
        ("whole", "kqV3aG9sZZLLf_gAAAAAAAAB"),
    ],
)
def test_a_forged_cursor_is_refused(lister: Caller, forged: tuple[str, str]) -> None:
    sort, after = forged
    problem = assert_problem(
        lister.get(f"/samples?sort={sort}&after={after}"), 422, "validation-failed"
    )
    assert problem["errors"][0]["pointer"] == "/after"


def test_the_next_page_keeps_every_parameter(lister: Caller) -> None:
    given = {
        "limit": "1",
        "sort": "-whole",
        "order": "asc",
        "q": "",
        "fields": "id,text",
        "count": "true",
        "as_of": "2999-01-01T00:00:00Z",
        "whole.ge": "-1",
        "limit.ge": "0",
        "text.in": "a,,A b,ä,",
        "moment.le": "2999-01-01T00:00:00+01:00",
    }
    page = page_of(lister, "/api/v2/samples", **given)

    url = urlsplit(page["next"])
    query = {
        name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()
    }
    assert url.path == "/api/v2/samples"
    assert query.pop("after")
    assert query == given


def test_a_cursor_fits_into_a_url_also_of_long_texts(server: ResourceApi) -> None:
    me = server.user()
    row = {name: values[0] for name, values in VALUES.items()}
    for _ in range(2):
        create(me, row | {"text": "😀" * 2_000, "maybe_text": "😀" * 2_000, "sort": "😀" * 2_000})

    found = list(pages_of(me, {"sort": "-text,maybe_text,-sort", "limit": "1", "fields": "id"}))
    assert [len(page["items"]) for page in found] == [1, 1]


@pytest.mark.parametrize("name", ["moment", "created_at"])
@pytest.mark.parametrize(
    "time",
    [
        *("2000-01-01T00:00:00Z", "2000-01-01t00:00:00z", "2000-01-01 00:00:00Z"),
        *("2000-01-01T00:00:00 01:00", "2000-01-01 00:00:00.5 01:00", "2000-01-01 00:00:00-01:00"),
    ],
)
def test_a_time_of_a_filter_has_any_form_that_one_of_as_of_has(
    lister: Caller, name: str, time: str
) -> None:
    """A query that is not percent-encoded has a space in place of a plus."""
    for query in (f"{name}.gt={time}", f"{name}.in={time}", f"as_of={time}"):
        assert lister.get(f"/samples?{query}").status_code == 200, query


class Compared(str):
    """A text that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_the_cost_of_a_filter_does_not_follow_the_number_of_its_values() -> None:
    values = [f"text-{number}" for number in range(1_000)]
    columns = columns_of(SAMPLES.by_collection["samples"])
    faults: list[Fault] = []
    selection = parse_selection(columns, {"text.in": [",".join(values)]}, faults)
    (one,) = selection.filters

    Compared.comparisons = 0
    assert one.test(Compared("text-999"))
    assert not one.test(Compared("text-1000"))
    assert Compared.comparisons < 10
    assert not faults


def test_a_field_that_is_named_twice_is_there_once(lister: Caller) -> None:
    row = page_of(lister, "/api/v2/samples", fields="text,id,text")["items"][0]
    assert list(row) == ["text", "id"]
    shape = shape_of(SAMPLES.by_collection["samples"], V2)
    assert parse_listing(shape, b"fields=text,id,text").fields == ["text", "id"]


def test_items_are_filtered_and_sorted_in_version_2(server: ResourceApi) -> None:
    me = server.user()
    for title, description in (("b", "x"), ("a", None), ("b", None)):
        me.post("/items", json={"title": title, "description": description})

    answer = me.get("/items?sort=-title,-id&description.null=true&count=true&fields=title")

    assert answer.json() == {"items": [{"title": "b"}, {"title": "a"}], "next": None, "count": 2}


def test_version_1_has_no_filters(server: ResourceApi) -> None:
    me = server.user().under("/api/v1")
    for query in ("title=a", "sort=title", "fields=id", "count=true"):
        assert_problem(me.get(f"/items?{query}"), 422, "validation-failed")
