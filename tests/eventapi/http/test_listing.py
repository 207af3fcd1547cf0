"""Lists of items: pages, orders and searches."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem, items_of

TITLES = ["Alpha", "beta", "ALPHABET", "gamma", "delta", "Straße", "100%", "a_b", "alpha & co"]


@pytest.fixture(scope="module")
def lister(api: Api) -> Caller:
    """A user with items, some of them deleted, between items of another user."""
    me, other = api.caller("lister"), api.caller("other")
    for at, title in enumerate(TITLES * 3):
        number = me.create(title, f"Number {at}" if at % 2 else None)
        other.create(title)
        if at % 7 == 6:
            me.delete(f"/items/{number}")
    return me


def next_of(answer: httpx.Response) -> str | None:
    """The URL of the next page: in the field Link, and in version 2 in the body, too."""
    link = answer.links.get("next")
    following = None if link is None else link["url"]
    assert (link is None) == ("link" not in answer.headers)
    assert following is None or following.startswith("http")
    if isinstance(answer.json(), dict):
        assert list(answer.json()) == ["items", "next"]
        assert answer.json()["next"] == following
    return following


def items_of_all_pages(me: Caller, path: str) -> list[dict[str, Any]]:
    """The items of all pages, following the links."""
    found: list[dict[str, Any]] = []
    for answer in me.pages(path):
        found += items_of(answer)
        assert next_of(answer) is None or items_of(answer)
    return found


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
@pytest.mark.parametrize("q", ["", "alpha", "number 1", "no such text"])
def test_the_pages_together_have_every_matching_item_once(
    lister: Caller, prefix: str, order: str, limit: int, q: str
) -> None:
    me = lister.under(prefix)
    everything = items_of(me.get("/items?limit=1000"))
    expected = [
        item
        for item in everything
        if q in item["title"].lower() or q in (item["description"] or "").lower()
    ]
    if order == "desc":
        expected.reverse()

    found = items_of_all_pages(me, f"/items?limit={limit}&order={order}&q={quote(q)}")

    assert found == expected


def test_a_list_has_the_callers_items_in_the_order_of_their_ids(lister: Caller) -> None:
    items = items_of(lister.get("/items"))
    numbers = [item["id"] for item in items]

    assert numbers == sorted(set(numbers))
    assert {item["owner"] for item in items} == {"lister"}
    assert items == [lister.get(f"/items/{number}").json() for number in numbers]


def test_a_user_without_items_gets_an_empty_page(ann: Caller) -> None:
    assert [ann.under(prefix).get("/items").json() for prefix in PREFIXES] == [
        [],
        [],
        {"items": [], "next": None},
    ]


def test_a_page_has_100_items_by_default(new_api: Api) -> None:
    """Version 1 has no pages by default: the list has all items."""
    ann = new_api.caller(prefix="/api/v2")
    new_api.request_all(
        ("POST", "/items", {"token": ann.token, "json": {"title": "t"}}) for _ in range(101)
    )
    answer = ann.get("/items")
    assert len(items_of(answer)) == 100
    assert len(items_of(new_api.request("GET", next_of(answer) or "", token=ann.token))) == 1
    assert next_of(ann.get("/items?limit=101")) is None

    for prefix in ("", "/api/v1"):
        answer = ann.under(prefix).get("/items")
        assert len(items_of(answer)) == 101
        assert next_of(answer) is None


def test_the_last_page_has_no_link_even_if_it_is_full(lister: Caller) -> None:
    total = len(items_of(lister.get("/items?limit=1000")))

    assert next_of(lister.get(f"/items?limit={total}")) is None
    assert next_of(lister.get(f"/items?limit={total - 1}")) is not None


def test_the_link_to_the_next_page_keeps_the_query(lister: Caller, prefix: str) -> None:
    following = next_of(lister.under(prefix).get("/items?limit=1&order=desc&q=a%26%20%23"))
    assert following is None

    following = next_of(lister.under(prefix).get("/items?limit=2&order=desc&q=%20%26%20"))
    assert following is not None

    url = urlsplit(following)
    assert url.path == f"{prefix}/items"

    query = parse_qs(url.query)
    assert (query["limit"], query["order"], query["q"]) == (["2"], ["desc"], [" & "])


@pytest.mark.parametrize("after", [0, 1, 10**6, 2**63 - 1])
def test_after_need_not_be_the_id_of_an_item(lister: Caller, after: int) -> None:
    everything = items_of(lister.get("/items"))
    for order, expected in (
        ("asc", [item for item in everything if item["id"] > after]),
        ("desc", [item for item in reversed(everything) if item["id"] < after]),
    ):
        assert items_of(lister.get(f"/items?after={after}&order={order}")) == expected


@pytest.mark.parametrize(
    ("q", "titles"),
    [
        ("ALPHA", {"Alpha", "ALPHABET", "alpha & co"}),
        ("alphab", {"ALPHABET"}),
        ("100%", {"100%"}),
        ("%", {"100%"}),
        ("_", {"a_b"}),
        (".*", set()),
        ("null", set()),
        ("STRASSE", {"Straße"}),
        ("straße", {"Straße"}),
    ],
)
def test_a_search_finds_a_part_of_a_text_in_any_case(
    lister: Caller, q: str, titles: set[str]
) -> None:
    found = items_of(lister.get("/items", params={"q": q}))
    assert {item["title"] for item in found} == titles


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=1001", "limit=", "limit", "limit=x", "limit=1.0"),
        *("limit=1e1", "limit=1_0", "limit=%2B1", "limit=+1", "limit=1%20", "limit=01"),
        *("limit=true", "limit=null", "limit=%EF%BC%91", "limit=1&limit=2", "limit=%00"),
        *("limit=99999999999999999999", f"limit={'9' * 5000}", "after=-1", "after=x"),
        *(
            "after=",
            "after=null",
            "after=9223372036854775808",
            "after=1.5",
            "order=up",
            "order=ASC",
        ),
        *("order=", "order=asc&order=asc", "q=%ff", "q=%ed%a0%80", "q=%00", f"q={'x' * 201}"),
        *("&".join(f"p{number}=x" for number in range(100)), "x=1", "Limit=1", "limit%5B%5D=1"),
    ],
)
def test_a_bad_query_is_refused(lister: Caller, prefix: str, query: str) -> None:
    answer = lister.under(prefix).get(f"/items?{query}")
    problem = assert_problem(answer, 422, "validation-failed")

    assert len(problem["errors"]) == 1


@pytest.mark.parametrize(
    "query", ["limit=1", "limit=1000", "after=0", "order=asc", "q=", "", "limit=1&order=asc"]
)
def test_control_a_good_query_is_answered(lister: Caller, query: str) -> None:
    assert lister.get(f"/items?{query}").status_code == 200
