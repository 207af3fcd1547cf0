"""Items: create, read, change and delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem

V1_MEMBERS = ["id", "title", "description", "owner", "created_at"]
V2_MEMBERS = [*V1_MEMBERS, "updated_at", "version"]
BIDI = "\u2067"
UNKNOWN_IDS = ["0", "-1", "00", "01", "+1", "1.0", "1e0", "1_0", "%201", "1%20", "１", "x", "%00"]
UNKNOWN_IDS += [
    "999999",
    "9" * 19,
    "9" * 4000,
    "true",
    "null",
    "%0d%0aX",
    "%ff",
    "%2e%2e",
    "*",
    "{id}",
]


@pytest.mark.parametrize(
    ("prefix", "status", "members"),
    [("", 200, V1_MEMBERS), ("/api/v1", 200, V1_MEMBERS), ("/api/v2", 201, V2_MEMBERS)],
)
def test_create_answers_the_item_in_the_shape_of_the_version(
    ann: Caller, prefix: str, status: int, members: list[str]
) -> None:
    answer = ann.under(prefix).post("/items", json={"title": "one", "description": "two"})
    assert answer.status_code == status

    item = answer.json()
    assert list(item) == members
    assert (item["title"], item["description"], item["owner"]) == ("one", "two", ann.name)

    position = ann.api.log.position
    assert answer.headers["event-position"] == str(position)
    assert answer.headers["etag"] == f'"{position}"'
    assert item.get("version", position) == position
    assert item.get("updated_at", item["created_at"]) == item["created_at"]

    location = f"http://test{prefix}/items/{item['id']}" if status == 201 else None
    assert answer.headers.get("location") == location
    assert ann.under(prefix).get(f"/items/{item['id']}").json() == item


def test_the_versions_show_the_same_item(ann: Caller) -> None:
    number = ann.create("shown")

    unversioned, v1, v2 = (ann.under(p).get(f"/items/{number}").json() for p in PREFIXES)
    shown = {name: v2[name] for name in V1_MEMBERS}
    shown["created_at"] = v2["created_at"].removesuffix("Z")

    assert unversioned == v1 == shown


def test_the_unversioned_paths_answer_as_version_1(ann: Caller) -> None:
    ann.create()
    for path in ("/items", "/auth/me", "/items/1000000", "/health/live"):
        one, other = (ann.under(prefix).get(path) for prefix in ("", "/api/v1"))
        assert one.status_code == other.status_code
        assert (
            one.json() | {"request_id": ""} == other.json() | {"request_id": ""}
            if isinstance(one.json(), dict)
            else one.json() == other.json()
        )
        varying = {"x-request-id"}
        assert {k: v for k, v in one.headers.items() if k not in varying} == {
            k: v for k, v in other.headers.items() if k not in varying
        }


@pytest.mark.parametrize(
    "title",
    ["x", "x" * 200, "  padded  ", "名" * 200, "😀", "a\u2028b", "<b>&amp;", '"\\/', "e\u0301"],
)
def test_titles_at_the_limits_are_stored_unchanged(ann: Caller, title: str) -> None:
    number = ann.create(title)
    assert ann.get(f"/items/{number}").json()["title"] == title


@pytest.mark.parametrize(
    "description", [None, "", "x" * 5000, "a\tb\nc\n", "a\r\nb\r", "\n", "名" * 5000]
)
def test_descriptions_at_the_limits_are_stored_unchanged(
    ann: Caller, description: str | None
) -> None:
    number = ann.create("a title", description)
    assert ann.get(f"/items/{number}").json()["description"] == description


INVALID_TITLES = ["", " ", "\u00a0", "x" * 201, "a\nb", "a\n", "\ta", "a\r", "\x00", "\x7f", "\x85"]
INVALID_TEXTS = ["x" * 5001, "\x00", "\x0b", "\x1b[0m", BIDI]
BAD_VALUES_OF: dict[str, list[Any]] = {
    "title": [*INVALID_TITLES, *INVALID_TEXTS, 5, True, None, [], {}],
    "description": [*INVALID_TEXTS, 5, False, [], {}],
    **{name: [1] for name in ("id", "owner", "created_at", "updated_at", "version", "")},
}
BAD_VALUES = [(field, value) for field, values in BAD_VALUES_OF.items() for value in values]


@pytest.mark.parametrize(("field", "value"), BAD_VALUES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_bad_value_is_refused_and_its_field_named(
    ann: Caller, method: str, field: str, value: object
) -> None:
    me = ann.under("/api/v2")
    number = me.create("before")
    before, position = me.get(f"/items/{number}").json(), me.api.log.position
    path = "/items" if method == "POST" else f"/items/{number}"

    answer = me.request(method, path, json={"title": "t"} | {field: value})
    problem = assert_problem(answer, 422, "validation-failed")

    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]
    assert (me.get(f"/items/{number}").json(), me.api.log.position) == (before, position)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_title_is_required(ann: Caller, method: str) -> None:
    path = "/items" if method == "POST" else f"/items/{ann.create()}"
    problem = assert_problem(ann.request(method, path, json={}), 422, "validation-failed")

    assert problem["errors"] == [{"pointer": "/title", "detail": "is required"}]


def test_put_replaces_title_and_description(ann: Caller, prefix: str) -> None:
    number = ann.create("before", "a description")
    me = ann.under(prefix)
    answer = me.put(f"/items/{number}", json={"title": "after"})
    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["description"]) == ("after", None)
    assert answer.headers["event-position"] == str(ann.api.log.position)
    assert answer.headers["etag"] == f'"{ann.api.log.position}"'

    read = me.get(f"/items/{number}")
    assert (read.json(), read.headers["etag"]) == (answer.json(), answer.headers["etag"])


@pytest.mark.parametrize(
    ("patch", "title", "description"),
    [
        ({}, "before", "a description"),
        ({"title": "after"}, "after", "a description"),
        ({"description": "other"}, "before", "other"),
        ({"description": None}, "before", None),
        ({"description": ""}, "before", ""),
        ({"title": "after", "description": None}, "after", None),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
def test_a_merge_patch_changes_only_the_members_it_has(
    ann: Caller, patch: dict[str, Any], title: str, description: str | None, kind: str
) -> None:
    number = ann.create("before", "a description")

    answer = ann.patch(f"/items/{number}", json=patch, headers={"content-type": kind})

    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["description"]) == (title, description)
    assert ann.get(f"/items/{number}").json() == answer.json()


def test_a_change_keeps_created_at_and_raises_the_version(ann: Caller) -> None:
    me = ann.under("/api/v2")
    number = me.create()
    before = me.get(f"/items/{number}").json()

    after = me.patch(f"/items/{number}", json={"title": "after"}).json()

    assert after["created_at"] == before["created_at"] <= after["updated_at"]
    assert after["version"] == ann.api.log.position > before["version"]


def test_the_id_of_a_deleted_item_is_not_used_again(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    number = me.create()

    answer = me.delete(f"/items/{number}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["event-position"] == str(ann.api.log.position)
    assert_problem(me.get(f"/items/{number}"), 404, "not-found")
    assert_problem(me.delete(f"/items/{number}"), 404, "not-found")
    assert me.create() > number


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("GET", {}),
        ("PUT", {"json": {"title": "t"}}),
        ("PATCH", {"json": {"title": "t"}}),
        ("DELETE", {}),
        ("DELETE", {"headers": {"if-match": '"1"'}}),
        ("GET", {"headers": {"if-none-match": "*"}}),
        ("PUT", {"json": {"title": "t"}, "headers": {"if-match": '"1"'}}),
        ("PATCH", {"json": {"title": "t"}, "headers": {"if-none-match": "*"}}),
    ],
)
def test_items_of_others_and_missing_items_get_identical_404s(
    ann: Caller, bob: Caller, prefix: str, method: str, how: dict[str, Any]
) -> None:
    me, deleted, theirs = ann.under(prefix), ann.create(), bob.create()
    ann.delete(f"/items/{deleted}")
    position = ann.api.log.position
    answers = [
        me.request(method, f"/items/{number}", **how) for number in (deleted, theirs, *UNKNOWN_IDS)
    ]
    for answer in answers:
        assert_problem(answer, 404, "not-found")

    bodies = {
        answer.content.replace(answer.headers["x-request-id"].encode(), b"") for answer in answers
    }
    assert len(bodies) == 1

    heads = {
        tuple((name, value) for name, value in answer.headers.items() if name != "x-request-id")
        for answer in answers
    }
    assert len(heads) == 1
    assert ann.api.log.position == position
    assert bob.get(f"/items/{theirs}").status_code == 200


def test_items_created_concurrently_get_different_ids(api: Api, ann: Caller) -> None:
    request = ("POST", "/items", {"token": ann.token, "json": {"title": "t"}})
    answers = api.request_all([request] * 50)
    assert len({answer.json()["id"] for answer in answers}) == 50

    positions = {int(answer.headers["event-position"]) for answer in answers}
    assert len(positions) == 50
    assert max(positions) == api.log.position
