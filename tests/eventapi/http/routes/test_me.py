"""The caller's own account, and logging out."""

from __future__ import annotations

import pytest

from eventapi.commands.mailed_links import VerifyEmail
from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem
from tests.eventapi.http.links import number_of


def test_me_is_the_user_in_the_shape_of_the_version(ann: Caller, prefix: str) -> None:
    user = ann.under(prefix).get("/auth/me").json()
    members = ["username", "email", "full_name", "disabled", "created_at"]

    assert list(user) == members + (["roles", "email_verified"] if prefix == "/api/v2" else [])
    assert (user["username"], user["email"]) == (ann.name, f"{ann.name}@example.org")


@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
def test_a_patch_changes_only_the_members_it_has(ann: Caller, prefix: str, kind: str) -> None:
    me = ann.under(prefix)
    before = me.get("/auth/me").json()

    answer = me.patch(
        "/auth/me", content=b'{"full_name": "Ann Lee"}', headers={"content-type": kind}
    )

    assert answer.status_code == 200
    assert answer.headers["event-position"] == str(ann.api.log.position)
    assert answer.json() == before | {"full_name": "Ann Lee"} == me.get("/auth/me").json()


def test_null_removes_the_full_name(ann: Caller) -> None:
    ann.patch("/auth/me", json={"full_name": "Ann"})
    assert ann.patch("/auth/me", json={"full_name": None}).json()["full_name"] is None


def test_an_empty_patch_changes_nothing(ann: Caller) -> None:
    before = ann.get("/auth/me").json()
    assert ann.patch("/auth/me", json={}).json() == before


@pytest.mark.parametrize(
    "body",
    [
        {"email": None},
        {"email": "no address"},
        {"email": 5},
        {"full_name": True},
        {"full_name": "x" * 101},
        {"username": "other"},
        {"disabled": False},
        {"roles": ["auditor"]},
        {"password": "a new password"},
        [],
    ],
)
def test_an_invalid_patch_changes_nothing(ann: Caller, body: object) -> None:
    me = ann.under("/api/v2")

    before, position = me.get("/auth/me").json(), me.api.log.position

    assert_problem(me.patch("/auth/me", json=body), 422, "validation-failed")
    assert (me.get("/auth/me").json(), me.api.log.position) == (before, position)


UNKNOWN = {"username": "other", "disabled": False, "roles": ["auditor"], "password": "a new one"}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_version_1_ignores_members_that_a_patch_cannot_change(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    before = ann.under("/api/v2").get("/auth/me").json()
    assert me.patch("/auth/me", json=UNKNOWN | {"full_name": "Ann"}).status_code == 200

    after = ann.under("/api/v2").get("/auth/me").json()
    assert after == before | {"full_name": "Ann"}
    assert ann.api.login(ann.name).status_code == 200
    for wrong in ({"email": None}, {"email": "no address"}, {"full_name": True}):
        assert_problem(me.patch("/auth/me", json=UNKNOWN | wrong), 422, "validation-failed")
    assert ann.under("/api/v2").get("/auth/me").json() == after


def test_an_email_address_of_another_user_is_refused(ann: Caller, bob: Caller, prefix: str) -> None:
    answer = ann.under(prefix).patch("/auth/me", json={"email": f"{bob.name.upper()}@example.org"})
    assert_problem(answer, 409 if prefix == "/api/v2" else 400, "email-taken")


def test_a_user_may_change_the_case_of_their_email_address(ann: Caller) -> None:
    email = f"{ann.name.upper()}@example.org"
    assert ann.patch("/auth/me", json={"email": email}).json()["email"] == email


def test_an_email_address_is_free_once_another_one_is_verified(
    api: Api, ann: Caller, bob: Caller
) -> None:
    old, new = f"{ann.name}@example.org", f"new-{ann.name}@example.org"
    ann.patch("/auth/me", json={"email": new})
    assert_problem(bob.patch("/auth/me", json={"email": old}), 400, "email-taken")

    api.execute(VerifyEmail(number_of(ann), new))

    assert bob.patch("/auth/me", json={"email": old}).status_code == 200


@pytest.mark.parametrize("prefix", PREFIXES)
def test_logout_ends_only_the_callers_session(api: Api, ann: Caller, prefix: str) -> None:
    other = api.login(ann.name).json()["access_token"]

    answer = ann.under(prefix).post("/auth/logout")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["event-position"] == str(api.log.position)
    for path in ("/auth/me", "/items"):
        assert_problem(ann.get(path), 401, "unauthenticated")
    assert_problem(ann.post("/auth/logout"), 401, "unauthenticated")
    assert api.request("GET", "/auth/me", token=other).status_code == 200


def test_one_of_two_concurrent_logouts_succeeds(api: Api, ann: Caller) -> None:
    answers = api.request_all(("POST", "/auth/logout", {"token": ann.token}) for _ in range(2))
    assert sorted(answer.status_code for answer in answers) == [204, 401]
