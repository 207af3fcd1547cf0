"""Refusals of a batch name the request, and a batch may delete and restore one resource."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eventapi.http.routes.batch import BATCH_BODIES
from tests.eventapi.http.client import Caller, assert_problem, quiet_settings
from tests.eventapi.http.routes.test_batch import (
    INVOICE,
    ITEM,
    V2,
    Request,
    ShopApi,
    batch,
    done,
    position,
    refused,
    write,
)


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopApi]:
    with ShopApi() as running:
        yield running


@pytest.fixture
def ann(shop: ShopApi) -> Caller:
    return shop.caller(prefix=V2)


REFUSED: list[tuple[str, Request, str]] = [
    ("not found", write("DELETE", "/items/999999"), "Item not found"),
    ("no number", write("DELETE", "/items/first"), "Item not found"),
    ("a body", write("POST", "/invoices", {"number": "x", "cents": -1}), "/body/cents"),
    ("no body", write("POST", "/items"), "/body: is required"),
    ("another version", write("DELETE", "/items/$2", if_match=1), "it is at version"),
    ("a read", write("GET", "/items/1"), "/method"),
    ("no object", 5, ""),  # type: ignore[list-item]  # the fault
    ("another member", write("DELETE", "/items/1", more=1), "/more"),
    ("no path", {"method": "POST"}, "/path"),
    ("not unique", write("POST", "/invoices", INVOICE), "is taken by another resource"),
]


@pytest.mark.parametrize(
    ("request_", "text"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_errors_and_detail_name_the_refused_request(
    ann: Caller, request_: Request, text: str
) -> None:
    ann.post("/invoices", json=INVOICE)
    before = position(ann)

    answer = batch(ann, ITEM, write("DELETE", "/items/$0"), ITEM, request_)

    problem = answer.json()
    pointers = [one["pointer"] for one in problem["errors"]]
    assert pointers[0] == "/requests/3"
    assert pointers.count("/requests/3") == 1
    assert all(one.startswith("/requests/3/") for one in pointers[1:])
    assert all(one["detail"] for one in problem["errors"])
    assert "/requests/3" in problem["detail"]
    assert text in problem["detail"]
    assert position(ann) == before


def test_each_faulty_request_has_an_entry_before_those_of_its_body(ann: Caller) -> None:
    bad = write("POST", "/items", {"title": "", "description": 5})
    problem = assert_problem(batch(ann, bad, ITEM, bad), 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [
        f"/requests/{number}{part}"
        for number in (0, 2)
        for part in ("", "/body/title", "/body/description")
    ]


def test_a_read_in_a_batch_is_refused_with_the_methods_that_are_possible(ann: Caller) -> None:
    problem = batch(ann, ITEM, write("GET", "/items/1")).json()
    assert all(method in problem["detail"] for method in ("DELETE", "PATCH", "POST", "PUT"))


@pytest.mark.parametrize("body", [..., {}])
def test_a_batch_can_delete_and_restore_the_same_resource(ann: Caller, body: Any) -> None:
    item = ann.post("/items", json={"title": "old", "description": "kept"}).json()
    path, before = f"/items/{item['id']}", position(ann)

    answers = done(
        batch(
            ann,
            write("PATCH", path, {"title": "new"}),
            write("DELETE", path),
            write("POST", f"{path}/restore", body),
            write("PATCH", path, {"description": "last"}),
            write("DELETE", f"{V2}{path}"),
            write("POST", f"{path}/restore", body),
            idempotency_key=f"restore-{body is ...}",
        )
    )

    assert [one["status"] for one in answers] == [200, 204, 200, 200, 204, 200]
    assert (answers[2]["body"]["title"], answers[2]["body"]["description"]) == ("new", "kept")
    assert answers[5]["body"] == ann.get(path).json()
    assert (answers[5]["body"]["title"], answers[5]["body"]["description"]) == ("new", "last")
    history = ann.get(f"{path}/history").json()
    assert [one["type"] for one in history[1:]] == [
        f"item.{verb}" for verb in ("updated", "deleted", "restored") * 2
    ]
    past = ann.get(f"{path}?as_of={before + 1}").json()
    assert (past["title"], past["description"]) == ("new", "kept")


def test_a_batch_can_restore_a_resource_that_it_made_and_deleted(ann: Caller) -> None:
    answers = done(
        batch(
            ann,
            write("POST", "/invoices", {**INVOICE, "number": "D1"}),
            write("DELETE", "/invoices/$0"),
            write("POST", "/invoices/$0/restore"),
        )
    )
    assert answers[2]["body"]["number"] == "D1"
    assert ann.get(f"/invoices/{answers[0]['body']['id']}").json() == answers[2]["body"]


def test_a_restoration_in_a_batch_is_checked_like_any_other(ann: Caller) -> None:
    one = ann.post("/invoices", json={**INVOICE, "number": "E1"}).json()
    path = f"/invoices/{one['id']}"
    taken = [
        write("DELETE", path),
        write("POST", "/invoices", {**INVOICE, "number": "E1"}),
        write("POST", f"{path}/restore"),
    ]
    problem = assert_problem(batch(ann, *taken), 409, "not-unique")
    assert problem["errors"][0]["pointer"] == "/requests/2"
    twice = [taken[0], taken[2], taken[2]]
    problem = assert_problem(batch(ann, *twice), 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == "/requests/2"
    outdated = [taken[0], {**taken[2], "if_match": one["version"]}]
    assert_problem(batch(ann, *outdated), 412, "precondition-failed")
    assert ann.get(path).json() == one


# The first request that is refused


@pytest.mark.parametrize("number", ["abc", "0", "-1", "01", "99999999999999999999", ""])
def test_a_number_that_no_resource_has_is_refused_in_its_turn(ann: Caller, number: str) -> None:
    bad = write("PATCH", f"/items/{number}", {"title": "x"})

    faulty = batch(ann, write("POST", "/items", {"title": ""}), bad, write("POST", "/items"))
    unknown = batch(ann, write("DELETE", "/items/999999"), bad)
    alone = batch(ann, ITEM, bad)

    assert refused(faulty) == (
        422,
        "validation-failed",
        ["/requests/0", "/requests/0/body/title", "/requests/2", "/requests/2/body"],
    )
    assert refused(unknown) == (404, "not-found", ["/requests/0"])
    assert refused(alone) == (404, "not-found", ["/requests/1"])


def test_a_deletion_of_another_request_is_not_undone_twice(shop: ShopApi, ann: Caller) -> None:
    """Two requests that restore one resource at once: the later one has no condition to fail."""
    number = ann.create()
    ann.delete(f"/items/{number}")
    how: dict[str, Any] = {"token": ann.token}

    answers = shop.request_all([("POST", f"{V2}/items/{number}/restore", how)] * 2)

    first, second = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 200
    problem = assert_problem(second, 422, "validation-failed")
    assert problem["errors"] == [
        {"pointer": "/as_of", "detail": "is required: the item is not deleted"}
    ]


Step = tuple[str, int]
"""A verb, and the place of an item."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["patch", "delete", "undelete", "undelete if", "go back", "too far", "wrong", "bad"]
        ),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=6,
)


def requests_of(caller: Caller, steps: list[Step]) -> list[Request]:
    """The requests of some steps with two items: a deleted one, and one that has changed."""
    numbers = [caller.create(), caller.create()]
    start = position(caller)
    assert caller.delete(f"/items/{numbers[0]}").status_code == 204
    assert caller.patch(f"/items/{numbers[1]}", json={"title": "new"}).status_code == 200
    found: list[Request] = []
    for verb, place in steps:
        path = f"/items/{numbers[place]}"
        requests: dict[str, Request] = {
            "patch": write("PATCH", path, {"title": "patched"}),
            "delete": write("DELETE", path),
            "undelete": write("POST", f"{path}/restore"),
            "undelete if": write("POST", f"{path}/restore", {}, if_match=1),
            "go back": write("POST", f"{path}/restore", {"as_of": start}),
            "too far": write("POST", f"{path}/restore", {"as_of": 10**9}),
            "wrong": write("PATCH", path, {"title": "wrong"}, if_match=1),
            "bad": write("PATCH", "/items/bad", {"title": "bad"}),
        }
        found.append(requests[verb])
    return found


def one_by_one(caller: Caller, requests: list[Request]) -> list[httpx.Response]:
    """The answers to requests, up to the first one that is refused."""
    answers: list[httpx.Response] = []
    for request in requests:
        how: dict[str, Any] = {"json": request["body"]} if "body" in request else {}
        if "if_match" in request:
            how["headers"] = {"if-match": f'"{request["if_match"]}"'}
        answers.append(caller.request(request["method"], request["path"], **how))
        if answers[-1].is_error:
            break
    return answers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
@example(steps=[("bad", 0), ("undelete", 1)])
@example(steps=[("wrong", 1), ("undelete", 1)])
@example(steps=[("undelete", 0), ("undelete", 0)])
@example(steps=[("undelete", 0), ("undelete if", 0)])
@example(steps=[("delete", 1), ("undelete", 1), ("undelete", 1)])
@example(steps=[("patch", 0), ("too far", 1)])
def test_a_batch_is_refused_as_its_requests_are_one_by_one(
    shop: ShopApi, steps: list[Step]
) -> None:
    one, other = shop.caller(prefix=V2), shop.caller(prefix=V2)
    answers = one_by_one(one, requests_of(one, steps))

    answer = batch(other, *requests_of(other, steps))

    last = answers[-1]
    if last.is_error:
        problem, pointer = last.json(), f"/requests/{len(answers) - 1}"
        places = [f"{pointer}/body{fault['pointer']}" for fault in problem.get("errors", [])]
        slug = problem["type"].removeprefix("/problems/")
        assert refused(answer) == (last.status_code, slug, [pointer, *places])
        assert [item["title"] for item in other.get("/items").json()["items"]] == ["new"]
    else:
        assert [response["status"] for response in done(answer)] == [
            answer.status_code for answer in answers
        ]
        titles = [
            [item["title"] for item in caller.get("/items").json()["items"]]
            for caller in (one, other)
        ]
        assert titles[0] == titles[1]


# The size of a batch


def long_items(count: int, size: int) -> list[Request]:
    return [write("POST", "/items", {"title": "t", "description": "d" * size})] * count


def test_a_batch_of_100_long_requests_is_accepted(ann: Caller) -> None:
    assert len(done(batch(ann, *long_items(100, 5_000)))) == 100


def test_a_batch_may_be_larger_than_another_body_and_has_a_strict_bound() -> None:
    limit = 1_000
    with ShopApi(quiet_settings(max_body_bytes=limit)) as shop:
        ann = shop.caller(prefix=V2)
        most = BATCH_BODIES * limit
        content = b'{"requests":[{"method":"POST","path":"/items","body":{"title":"t"}}]}'
        how: dict[str, Any] = {"headers": {"content-type": "application/json"}}
        for size, status in ((most, 200), (most + 1, 413)):
            answer = ann.post("/batch", content=content.ljust(size), **how)
            assert answer.status_code == status, answer.text
        assert str(most) in assert_problem(answer, 413, "body-too-large")["detail"]
        for path in ("/items", "/invoices"):
            answer = ann.post(path, content=b"{}".ljust(limit + 1), **how)
            assert str(limit) in assert_problem(answer, 413, "body-too-large")["detail"]


def test_the_document_states_the_size_of_a_batch(shop: ShopApi) -> None:
    document = shop.request("GET", f"{V2}/openapi.json").json()
    operation = document["paths"][f"{V2}/batch"]["post"]
    assert f"{BATCH_BODIES} times" in operation["description"]
