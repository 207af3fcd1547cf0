"""Operators disable and erase users, change roles and reset passwords."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from eventapi.accounts.links import ResetLink, reset_link
from eventapi.commands.users import DisableUser, GrantRole, SetEmail
from eventapi.security.signed_texts import SignedTexts
from eventapi.values.times import seconds_of
from tests.eventapi.http.client import (
    OPERATOR,
    PASSWORD,
    SECRET,
    Api,
    Caller,
    assert_problem,
    quiet_settings,
)
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.http.users.seen import place_of, records, user_of, what_happened


def test_a_patch_changes_everything_in_one_group(
    server: ResourceApi, root: Caller, bob: Caller
) -> None:
    place = place_of(root, bob)
    root.patch(place, json={"roles": ["auditor", "operator"]})
    before = server.log.position
    answer = root.patch(place, json={"disabled": True, "roles": ["clerk", "auditor"]})

    user = answer.json()
    assert (user["disabled"], user["roles"]) == (True, ["auditor", "clerk"])
    assert answer.headers["etag"] == f'"{user["version"]}"'
    assert answer.headers["event-position"] == str(server.log.position) == str(user["version"])
    assert root.get(place).json() == user
    actor = f"users/{user_of(root, root)['id']}"
    assert what_happened(server, before) == [
        ("user.disabled", place[1:], actor),
        ("user.role_revoked", place[1:], actor),
        ("user.role_granted", place[1:], actor),
    ]
    assert [one.get("remaining") for one in records(server, before)] == ["2", "1", None]
    assert_problem(bob.get("/auth/me"), 401, "unauthenticated")
    assert root.patch(place, json={"disabled": False}).json()["disabled"] is False
    assert server.login(bob.name).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"disabled": False}, {"roles": []}, {"roles": [], "disabled": False}],
)
@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
def test_a_patch_that_changes_nothing_writes_nothing(
    server: ResourceApi, root: Caller, bob: Caller, body: dict[str, Any], kind: str
) -> None:
    user, before = user_of(root, bob), server.log.position
    answer = root.patch(
        f"/users/{user['id']}", content=json.dumps(body), headers={"content-type": kind}
    )
    assert (answer.status_code, answer.json()) == (200, user)
    assert answer.headers["event-position"] == str(user["version"])
    assert server.log.position == before


@pytest.mark.parametrize(
    "body",
    [
        {"roles": ["king"]},
        {"roles": ["auditor", "king"], "disabled": True},
        {"roles": None},
        {"roles": {}},
        {"disabled": None},
        {"disabled": 1},
        {"email": "new@example.org"},
        {"username": "other"},
        {"password": PASSWORD},
        [],
    ],
)
def test_an_invalid_patch_changes_nothing(
    server: ResourceApi, root: Caller, bob: Caller, body: object
) -> None:
    place, before = place_of(root, bob), server.log.position
    assert_problem(root.patch(place, json=body), 422, "validation-failed")
    assert server.log.position == before


def test_the_fault_of_an_unknown_role_has_its_place(root: Caller, bob: Caller) -> None:
    answer = root.patch(place_of(root, bob), json={"roles": ["auditor", "king"]})
    (error,) = assert_problem(answer, 422, "validation-failed")["errors"]
    assert error == {"pointer": "/roles/1", "detail": "must be one of auditor, clerk, operator"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_write_needs_a_version_that_it_names(
    server: ResourceApi, root: Caller, bob: Caller, method: str
) -> None:
    place = place_of(root, bob)
    old = root.get(place).headers["etag"]
    new = root.patch(place, json={"roles": ["auditor"]}).headers["etag"]
    body: dict[str, Any] = {"json": {"disabled": True}} if method == "PATCH" else {}
    before = server.log.position

    for headers in ({"if-match": old}, {"if-none-match": new}, {"if-match": '"nonsense"'}):
        answer = root.request(method, place, headers=headers, **body)
        assert_problem(answer, 412, "precondition-failed")
    assert server.log.position == before
    assert root.request(method, place, headers={"if-match": new}, **body).is_success


def test_of_two_lists_of_roles_at_once_one_is_the_result(
    server: ResourceApi, root: Caller, bob: Caller
) -> None:
    place = V2 + place_of(root, bob)
    lists = [["auditor"], ["clerk"], ["auditor", "clerk"], []]
    for _ in range(5):
        answers = server.request_all(
            ("PATCH", place, {"token": root.token, "json": {"roles": roles}}) for roles in lists
        )
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["roles"] for answer in answers] == lists


# Password resets


def test_a_reset_sends_a_mail(server: ResourceApi, root: Caller, bob: Caller) -> None:
    place = place_of(root, bob)
    bodies: list[dict[str, Any]] = [{}, {"json": {}}, {"json": {"link": False}}]
    for body in bodies:
        before = server.log.position
        answer = root.post(f"{place}/password-reset", **body)
        assert (answer.status_code, answer.content) == (202, b"")
        assert answer.headers["event-position"] == str(before + 1)
        actor = f"users/{user_of(root, root)['id']}"
        assert what_happened(server, before) == [
            ("user.password_reset_requested", place[1:], actor)
        ]


def test_a_reset_by_link_answers_the_link(server: ResourceApi, root: Caller, bob: Caller) -> None:
    place = place_of(root, bob)
    answer = root.post(f"{place}/password-reset", json={"link": True})
    (record,) = records(server, server.log.position - 1)

    assert (answer.status_code, list(answer.json())) == (200, ["link"])
    assert answer.headers["cache-control"] == "no-store"
    link = answer.json()["link"]
    assert link.startswith(f"{quiet_settings().base_url}/reset-password?token=")
    (token,) = parse_qs(urlsplit(link).query)["token"]
    assert reset_link(SignedTexts([SECRET]), record["source"], {}, token) == ResetLink(
        int(place.rpartition("/")[2]),
        int(record["id"]),
        int(seconds_of(record["data"]["expires_at"])),
        mailed_to=None,
    )
    assert record["data"]["delivery"] == "link"
    assert token.encode() not in b"".join(server.log_lines())


def test_a_link_begins_with_the_public_url() -> None:
    with Api(quiet_settings(public_url="https://api.example/events")) as api:
        root = api.caller("root", V2)
        api.execute(GrantRole("root", "operator", OPERATOR))
        answer = root.post(
            "/users/1/password-reset", json={"link": True}, headers={"host": "evil.example"}
        )
        assert answer.json()["link"].startswith("https://api.example/events/reset-password?token=")


@pytest.mark.parametrize("link", [True, False])
def test_a_disabled_user_gets_no_link(root: Caller, bob: Caller, link: bool) -> None:
    place = place_of(root, bob)
    root.api.execute(DisableUser(bob.name, OPERATOR))
    answer = root.post(f"{place}/password-reset", json={"link": link})
    problem = assert_problem(answer, 409, "action-refused")
    assert "enable the account first" in problem["detail"]


@pytest.mark.parametrize("body", [{"link": 1}, {"link": None}, {"mail": True}, []])
def test_an_invalid_reset_is_refused(root: Caller, bob: Caller, body: object) -> None:
    answer = root.post(f"{place_of(root, bob)}/password-reset", json=body)
    assert_problem(answer, 422, "validation-failed")


# Erasure


def test_an_erased_user_is_gone_and_the_name_is_free(
    server: ResourceApi, root: Caller, bob: Caller
) -> None:
    place, before = place_of(root, bob), server.log.position
    answer = root.delete(place)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["event-position"] == str(before + 1)
    actor = f"users/{user_of(root, root)['id']}"
    assert what_happened(server, before) == [("user.erased", place[1:], actor)]
    assert_problem(bob.get("/auth/me"), 401, "unauthenticated")
    assert place[1:] not in server.run(server.vault.all())
    assert server.register(bob.name).status_code == 200


def test_a_set_address_counts(server: ResourceApi, root: Caller, bob: Caller) -> None:
    server.execute(SetEmail(bob.name, f"set-{bob.name}@example.org", OPERATOR))
    assert user_of(root, bob)["email"] == f"set-{bob.name}@example.org"
