"""``POST /api/v2/users``: users whom operators create."""

from __future__ import annotations

from typing import Any

import pytest

from tests.eventapi.http.client import (
    PASSWORD,
    Caller,
    assert_problem,
)
from tests.eventapi.http.resources.server import ResourceApi
from tests.eventapi.http.users.seen import MEMBERS, records, user_of, what_happened


def new_user(name: str, **members: Any) -> dict[str, Any]:
    return {"username": name, "email": f"{name}@example.org"} | members


def test_a_created_user_logs_in_with_the_password(server: ResourceApi, root: Caller) -> None:
    before = server.log.position
    answer = root.post(
        "/users",
        json=new_user("carol", password=PASSWORD, full_name="Carol", roles=["clerk", "auditor"]),
    )
    user = answer.json()

    assert answer.status_code == 201, answer.text
    assert list(user) == MEMBERS
    assert (user["username"], user["full_name"]) == ("carol", "Carol")
    assert user["roles"] == ["auditor", "clerk"]
    assert answer.headers["location"] == f"http://test/api/v2/users/{user['id']}"
    assert answer.headers["event-position"] == str(server.log.position) == str(user["version"])
    assert root.get(f"/users/{user['id']}").json() == user
    assert server.login("carol").status_code == 200
    subject, actor = f"users/{user['id']}", f"users/{user_of(root, root)['id']}"
    assert what_happened(server, before)[:3] == [
        ("user.registered", subject, actor),
        ("user.role_granted", subject, actor),
        ("user.role_granted", subject, actor),
    ]


def test_a_user_without_a_password_gets_a_mail_to_choose_one(
    server: ResourceApi, root: Caller
) -> None:
    before = server.log.position
    answer = root.post("/users", json=new_user("dave", roles=["auditor"]))
    user = answer.json()

    assert answer.status_code == 201
    subject, actor = f"users/{user['id']}", f"users/{user_of(root, root)['id']}"
    assert what_happened(server, before) == [
        ("user.registered", subject, actor),
        ("user.role_granted", subject, actor),
        ("user.password_reset_requested", subject, actor),
    ]
    request = records(server, before)[-1]
    assert request["data"].get("delivery", "mail") == "mail"
    # In one group, whole or not at all.
    assert [one.get("remaining") for one in records(server, before)] == ["2", "1", None]
    assert root.get(f"/users/{user['id']}").json() == user
    assert server.login("dave").status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (new_user("-no"), 422, "validation-failed"),
        (new_user("eve", email="nobody"), 422, "validation-failed"),
        (new_user("eve", email="a@localhost"), 422, "validation-failed"),
        (new_user("eve", password="short"), 422, "validation-failed"),
        (new_user("eve", password=None), 422, "validation-failed"),
        (new_user("eve", roles=["king"]), 422, "validation-failed"),
        (new_user("eve", roles="auditor"), 422, "validation-failed"),
        (new_user("eve", disabled=True), 422, "validation-failed"),
        (new_user("eve", id=7), 422, "validation-failed"),
        ({"username": "eve"}, 422, "validation-failed"),
        ([], 422, "validation-failed"),
    ],
)
def test_an_invalid_user_is_not_created(
    server: ResourceApi, root: Caller, body: object, status: int, slug: str
) -> None:
    before = server.log.position
    assert_problem(root.post("/users", json=body), status, slug)
    assert server.log.position == before


def test_taken_names_and_addresses_are_refused(root: Caller, bob: Caller) -> None:
    taken = root.post("/users", json=new_user(bob.name.upper(), email="free@example.org"))
    assert_problem(taken, 409, "username-taken")
    taken = root.post("/users", json=new_user("free", email=f"{bob.name}@EXAMPLE.org"))
    assert_problem(taken, 409, "email-taken")


@pytest.mark.parametrize("password", [{}, {"password": PASSWORD}], ids=["mail", "password"])
def test_a_repeated_creation_with_a_key_creates_one_user(
    server: ResourceApi, root: Caller, password: dict[str, str]
) -> None:
    name = f"idem{len(password)}"
    how: dict[str, Any] = {"headers": {"idempotency-key": name}}
    body = new_user(name, roles=["clerk", "clerk", "auditor"], **password)
    first = root.post("/users", json=body, **how)
    position = server.log.position
    second = root.post("/users", json=body, **how)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    for header in ("location", "etag", "event-position"):
        assert first.headers[header] == second.headers[header]
    assert server.log.position == position
    other = root.post("/users", json=body | {"full_name": "Other"}, **how)
    assert_problem(other, 422, "idempotency-key-reused")
