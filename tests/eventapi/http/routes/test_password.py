"""A password change needs the current password and ends all other sessions."""

from __future__ import annotations

import httpx
import pytest

from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem

NEW = "another horse, another staple"


def change(caller: Caller, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    return caller.post("/auth/password", json={"current_password": current, "new_password": new})


def test_after_a_change_only_the_new_password_logs_in(api: Api, ann: Caller, prefix: str) -> None:
    answer = change(ann.under(prefix))

    assert (answer.status_code, answer.content) == (204, b"")
    assert int(answer.headers["event-position"])
    assert_problem(api.login(ann.name), 401, "invalid-credentials")
    assert api.login(ann.name, NEW).status_code == 200


def test_a_password_change_ends_all_other_sessions(api: Api, ann: Caller) -> None:
    other = api.login(ann.name).json()
    assert change(ann).status_code == 204
    assert ann.get("/auth/me").status_code == 200
    assert_problem(
        api.request("GET", "/auth/me", token=other["access_token"]), 401, "unauthenticated"
    )

    answer = api.request("POST", "/auth/refresh", json={"refresh_token": other["refresh_token"]})
    assert_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("wrong", ["", PASSWORD.upper(), PASSWORD + " ", "é" * 600])
def test_a_change_without_the_current_password_is_refused(
    api: Api, ann: Caller, wrong: str
) -> None:
    before = api.log.position

    assert_problem(change(ann, wrong), 401, "invalid-credentials")
    assert api.log.position == before


@pytest.mark.parametrize("new", ["short", "x" * 1025, "é" * 513])
def test_a_new_password_keeps_the_rules_of_registration(api: Api, ann: Caller, new: str) -> None:
    before = api.log.position

    assert_problem(change(ann, new=new), 422, "validation-failed")
    assert api.log.position == before


def test_one_of_two_concurrent_password_changes_succeeds(api: Api, ann: Caller) -> None:
    bodies = [{"current_password": PASSWORD, "new_password": f"{NEW} {n}"} for n in range(2)]
    answers = api.request_all(
        ("POST", "/auth/password", {"json": body, "token": ann.token}) for body in bodies
    )
    assert sorted(answer.status_code for answer in answers) == [204, 401]

    (good,) = [body for body, answer in zip(bodies, answers, strict=True) if answer.is_success]
    assert api.login(ann.name, good["new_password"]).status_code == 200
