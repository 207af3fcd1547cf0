"""``GET /api/v2/users``: users, as operators and auditors see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.commands.users import GrantRole
from eventapi.http.routes import users
from tests.eventapi.http.client import (
    OPERATOR,
    Api,
    Caller,
    assert_problem,
    items_of,
)
from tests.eventapi.http.resources.server import V2
from tests.eventapi.http.users.seen import MEMBERS, place_of, user_of


def test_a_user_has_the_documented_members(root: Caller, bob: Caller) -> None:
    answer = root.get(place_of(root, bob))
    user = answer.json()

    assert list(user) == MEMBERS
    assert user | {"id": 0, "created_at": "", "version": 0} == {
        "id": 0,
        "username": bob.name,
        "email": f"{bob.name}@example.org",
        "email_verified": False,
        "full_name": None,
        "disabled": False,
        "roles": [],
        "created_at": "",
        "version": 0,
    }
    assert answer.headers["etag"] == f'"{user["version"]}"'
    assert user == user_of(root, bob)


def test_a_conditional_read_is_empty_while_nothing_changes(root: Caller, bob: Caller) -> None:
    place = place_of(root, bob)
    tag = root.get(place).headers["etag"]

    assert root.get(place, headers={"if-none-match": tag}).status_code == 304
    assert root.get(place, headers={"if-match": tag}).status_code == 200
    root.patch(place, json={"disabled": True})
    assert root.get(place, headers={"if-none-match": tag}).status_code == 200
    assert_problem(root.get(place, headers={"if-match": tag}), 412, "precondition-failed")


@pytest.mark.parametrize("number", ["0", "9999", "x", "1.0", "-1", "9" * 30, "01"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"disabled": True}),
        ("DELETE", "", None),
        ("POST", "/password-reset", None),
    ],
)
def test_an_unknown_number_is_not_found(
    root: Caller, number: str, method: str, path: str, body: object
) -> None:
    how = {} if body is None else {"json": body}
    answer = root.request(method, f"/users/{number}{path}", **how)
    assert_problem(answer, 404, "not-found")


def test_an_erased_user_is_not_found_and_not_listed(root: Caller, bob: Caller) -> None:
    place = place_of(root, bob)
    assert bob.erase().status_code == 204
    for answer in (
        root.get(place),
        root.patch(place, json={"roles": ["auditor"]}),
        root.post(f"{place}/password-reset"),
        root.delete(place),
    ):
        assert_problem(answer, 404, "not-found")
    assert items_of(root.get("/users", params={"q": bob.name})) == []


def test_the_newest_address_is_shown_and_whether_it_is_verified(root: Caller, bob: Caller) -> None:
    bob.patch("/auth/me", json={"email": f"new-{bob.name}@example.org"})
    user = user_of(root, bob)
    me = bob.get("/auth/me").json()

    assert (user["email"], user["email_verified"]) == (f"new-{bob.name}@example.org", False)
    assert (me["email"], me["email_verified"]) == (user["email"], user["email_verified"])


# Lists


@pytest.fixture
def many() -> Iterator[Caller]:
    """An operator of a server with 7 users, the fourth of whom is erased."""
    with Api() as api:
        root = api.caller("root", V2)
        for number in range(2, 8):
            api.register(f"user-{number}", full_name=f"Zoé STRASSE {number}")
        Caller(api, "user-4", api.login("user-4").json()).erase()
        api.execute(GrantRole("root", "operator", OPERATOR))
        yield root


def numbers(page: list[dict[str, Any]]) -> list[int]:
    return [one["id"] for one in page]


def test_pages_list_every_user_once_by_number(many: Caller) -> None:
    pages = [page.json() for page in many.pages("/users?limit=2")]

    assert [numbers(page["items"]) for page in pages] == [[1, 2], [3, 5], [6, 7]]
    assert pages[-1]["next"] is None
    answer = many.get("/users", params={"limit": 2})
    assert answer.json()["next"] == answer.links["next"]["url"]
    assert answer.json()["next"].startswith("http://test/api/v2/users?")
    assert numbers(many.get("/users").json()["items"]) == [1, 2, 3, 5, 6, 7]
    assert many.get("/users", params={"after": 2**63 - 1}).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ROOT", [1]),
        ("er-3@EXAMPLE", [3]),
        ("zoe\u0301 straße", [2, 3, 5, 6, 7]),
        ("é strasse 7", [7]),
        ("user-4", []),
        ("", [1, 2, 3, 5, 6, 7]),
        ("example.org\0", None),
        ("moved", [6]),
        ("user-6@example", [6]),
    ],
)
def test_a_search_finds_parts_of_names_and_addresses(
    many: Caller, q: str, found: list[int] | None
) -> None:
    """Both addresses of a user are searched, because the user may write from either."""
    six = Caller(many.api, "user-6", many.api.login("user-6").json())
    six.patch("/auth/me", json={"email": "moved@example.org"})
    answer = many.get("/users", params={"q": q})
    if found is None:
        assert_problem(answer, 422, "validation-failed")
    else:
        assert numbers(items_of(answer)) == found


def test_a_search_has_bounded_pages(many: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given few users that match, when a page would search too many users, then it ends early."""
    monkeypatch.setattr(users, "_MAX_SCANNED", 3)
    monkeypatch.setattr(users, "_PER_TURN", 2)

    pages = [page.json() for page in many.pages("/users?q=user-&limit=2")]

    assert [numbers(page["items"]) for page in pages] == [[2, 3], [5, 6], [7]]
    pages = [page.json() for page in many.pages("/users?q=7")]
    assert [numbers(page["items"]) for page in pages] == [[], [], [7]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=x", "after=-1", "sort=id", "q=a&role=b", "limit=null"]
)
def test_an_invalid_query_is_refused(root: Caller, query: str) -> None:
    assert_problem(root.get(f"/users?{query}"), 422, "validation-failed")
