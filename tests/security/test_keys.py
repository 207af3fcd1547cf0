"""API keys: what a key may do, and what is no key.

A key may do what its scopes and the roles of its user allow both, and nothing to the account.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from eventapi.commands.users import GrantRole, RevokeRole
from eventapi.http.routes import mailed_links
from eventapi.security.api_keys import api_key
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem
from tests.eventapi.http.links import types
from tests.security.operations import DOCUMENTED, Access, Operation, name_of

V2 = "/api/v2"
ALL = ("read", "write", "audit")


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, Api() as running:
        patch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)
        yield running


def new_key(api: Api, scopes: Sequence[str] = ALL, role: str = "user") -> tuple[Caller, str]:
    """A user with a role, and a key of theirs; any key may once have been an auditor's."""
    owner = api.caller(prefix=V2)
    api.execute(GrantRole(owner.name, "auditor", OPERATOR))
    answer = owner.post("/auth/keys", json={"name": "a key", "scopes": scopes})
    assert answer.status_code == 201, answer.text
    if role != "auditor":
        api.execute(RevokeRole(owner.name, "auditor", OPERATOR))
        if role != "user":
            api.execute(GrantRole(owner.name, role, OPERATOR))
    return owner, answer.json()["key"]


# The matrix


def is_allowed(operation: Operation, scopes: Sequence[str], role: str) -> bool:
    """Whether a key may use an operation on what its owner has."""
    rule, access = operation.rule, operation.rule.access
    of_method = ("read" if operation.method in {"GET", "HEAD"} else "write") in scopes
    match access:
        case Access.PUBLIC:
            return True
        case _ if rule.by_session:
            return False
        case Access.AUDITOR:
            return "audit" in scopes and role == "auditor"
        case Access.OPERATOR:
            return of_method and role == "operator"
        case Access.STAFF:
            return (role, True) in {("operator", of_method), ("auditor", "audit" in scopes)}
        case _:
            is_auditor = role == "auditor" and "audit" in scopes
            return of_method or (access is Access.READER and is_auditor)


@pytest.mark.parametrize("scopes", [*itertools.combinations(ALL, 1), ALL], ids="+".join)
@pytest.mark.parametrize("role", ["user", "auditor", "operator"])
def test_a_key_may_do_what_its_scopes_and_the_roles_of_its_user_allow(
    api: Api, scopes: Sequence[str], role: str
) -> None:
    owner, key = new_key(api, scopes, role)
    found = {}
    for operation in DOCUMENTED:
        answer = operation.send(api, owner.under(""), key)
        found[name_of(operation)] = answer.status_code not in {401, 403}
        assert answer.status_code != 401, name_of(operation)
        assert answer.status_code < 500, name_of(operation)
        if operation.rule.access is not Access.PUBLIC:
            assert answer.is_success == found[name_of(operation)], (name_of(operation), answer.text)

    assert found == {name_of(one): is_allowed(one, scopes, role) for one in DOCUMENTED}
    assert len(found) > 150
    assert owner.get("/auth/me").status_code == 200, "the account is as before"


@pytest.mark.parametrize("role", ["user", "auditor", "operator"])
def test_a_key_does_not_reach_the_resources_of_others(api: Api, role: str) -> None:
    _, key = new_key(api, ALL, role)
    owner = api.caller()
    for operation in DOCUMENTED:
        access = operation.rule.access
        if access is Access.OWNER or (access is Access.READER and role != "auditor"):
            status = operation.send(api, owner, key).status_code
            assert status == (403 if operation.rule.by_session else 404), name_of(operation)


def test_the_proof_of_an_event_of_others_needs_the_scope_audit(api: Api) -> None:
    stranger = api.caller()
    stranger.create()
    place = f"{V2}/log/proof/{api.log.position}"
    statuses = {}
    for scopes in (("read",), ("audit",), ("write",), ("read", "audit")):
        _, key = new_key(api, scopes, "auditor")
        statuses[scopes] = api.request("GET", place, token=key).status_code
    assert statuses == {("read",): 404, ("audit",): 200, ("write",): 403, ("read", "audit"): 200}


def test_the_scope_audit_alone_gives_no_proof_to_a_user_who_is_no_auditor(api: Api) -> None:
    owner, key = new_key(api, ("audit",))
    owner.create()
    answer = api.request("GET", f"{V2}/log/proof/{api.log.position}", token=key)
    assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("scopes", [("read",), ("audit",), ("read", "audit")], ids="+".join)
def test_a_batch_needs_the_scope_write(api: Api, scopes: Sequence[str]) -> None:
    owner, key = new_key(api, scopes, "auditor")
    number = owner.create()
    before = types(api)
    for method, path, body in (
        ("POST", "/items", {"title": "a"}),
        ("PATCH", f"/items/{number}", {"title": "a"}),
        ("DELETE", f"/items/{number}", None),
        ("POST", f"/items/{number}/restore", {"as_of": "2999-01-01T00:00:00Z"}),
    ):
        part = {"method": method, "path": path} | ({} if body is None else {"body": body})
        answer = api.request("POST", f"{V2}/batch", token=key, json={"requests": [part]})
        assert answer.status_code == 403, answer.text
    assert set(types(api, len(before))) <= {"key.used"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/auth/keys"),
        ("DELETE", "/auth/me"),
        ("PATCH", "/auth/me"),
        ("POST", "/users"),
        ("PATCH", "/users/1"),
        ("GET", "/items/1"),
        ("POST", "/batch"),
        ("GET", "/audit/events"),
    ],
)
def test_a_batch_contains_writes_to_resources_alone(api: Api, method: str, path: str) -> None:
    _, key = new_key(api, ALL, "operator")
    part = {"method": method, "path": path, "body": {"name": "a key", "roles": ["operator"]}}
    answer = api.request("POST", f"{V2}/batch", token=key, json={"requests": [part]})
    assert answer.status_code == 422, answer.text


def test_a_repeated_request_of_a_session_needs_the_scope_of_the_method(api: Api) -> None:
    """The answer to a write has the written resource; the scope `write` allows no more."""
    answers: dict[str, httpx.Response] = {}
    for scope in ALL:
        owner, key = new_key(api, [scope], "auditor")
        request: dict[str, Any] = {
            "json": {"title": f"secret of {owner.name}"},
            "headers": {"Idempotency-Key": "the-same"},
        }
        assert owner.post("/items", **request).status_code == 201
        answers[scope] = api.request("POST", f"{V2}/items", token=key, **request)
        if scope != "write":
            assert owner.name not in answers[scope].text
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "read": 403,
        "audit": 403,
        "write": 201,
    }


def test_a_key_does_not_repeat_the_requests_of_operators(api: Api) -> None:
    root, key = new_key(api, ALL, "operator")
    request: dict[str, Any] = {
        "json": {"username": f"by-{root.name}", "email": f"by-{root.name}@example.org"},
        "headers": {"Idempotency-Key": "the-same"},
    }
    assert root.post("/users", **request).status_code == 201
    assert root.post("/users", **request).status_code == 201
    answer = api.request("POST", f"{V2}/users", token=key, **request)
    assert (answer.status_code, root.name in answer.text) == (403, False)


# Confusion


def signed_like_the_server(api: Api, sub: str, sid: str) -> str:
    tokens = api.edge.services.tokens
    token: str = tokens.issue(sub, sid, int(time.time()), 600)
    return token


def test_no_credential_is_taken_for_another_kind(api: Api) -> None:
    owner, key = new_key(api)
    stranger, other = new_key(api)
    number, secret = key.split("_")[1:3]
    _, others_secret = other.split("_")[1:3]
    swapped = api_key(number, bytes.fromhex(others_secret))
    wrong = [
        swapped,
        api_key("0" * 20, bytes.fromhex(secret)),
        f"eak_{owner.token}",
        f"eak_{owner.session_id}",
        owner.tokens["refresh_token"],
        key.removeprefix("eak_"),
        key.upper(),
        f"{key} {key}",
        f"{key},{key}",
        signed_like_the_server(api, owner.name, number),
        signed_like_the_server(api, owner.name, f"keys/{number}"),
        signed_like_the_server(api, f"keys/{number}", owner.session_id),
        signed_like_the_server(api, number, number),
        signed_like_the_server(api, stranger.name, owner.session_id),
        signed_like_the_server(api, owner.name, ""),
    ]
    for token in wrong:
        answer = api.request("GET", f"{V2}/auth/me", token=token)
        assert answer.status_code == 401, token
        assert owner.name not in answer.text
    controls = (key, other, signed_like_the_server(api, owner.name, owner.session_id))
    for token in controls:
        assert api.request("GET", f"{V2}/auth/me", token=token).status_code == 200


def test_a_key_is_no_refresh_token_link_or_challenge(api: Api) -> None:
    _, key = new_key(api)
    before = api.log.position
    for path, body in (
        ("/auth/refresh", {"refresh_token": key}),
        ("/auth/password/reset", {"token": key, "new_password": "a new password"}),
        ("/auth/email/verify", {"token": key}),
        ("/auth/login/second-factor", {"challenge": key, "code": "123456"}),
    ):
        answer = api.request("POST", V2 + path, json=body)
        assert answer.status_code in {401, 422}, (path, answer.text)
    assert api.log.position == before


def test_the_scheme_basic_and_other_places_carry_no_key(api: Api) -> None:
    _, key = new_key(api)
    for headers in (
        {"Authorization": f"Basic {key}"},
        {"Authorization": key},
        {"X-Api-Key": key},
        {"Cookie": f"access_token={key}"},
    ):
        assert api.request("GET", f"{V2}/auth/me", headers=headers).status_code == 401
    for place in ("/auth/me", "/items", "/audit/events/1"):
        answer = api.request("GET", f"{V2}{place}?access_token={key}")
        assert answer.status_code == 401, place
    answer = api.request("POST", f"{V2}/items?access_token={key}", json={"title": "a"})
    assert answer.status_code == 401


def test_of_two_authorizations_the_last_one_alone_counts(api: Api) -> None:
    first, second = new_key(api, ["read"]), new_key(api, ["write"])

    def send(method: str, *tokens: str) -> httpx.Response:
        headers = [("authorization", f"Bearer {token}") for token in tokens]
        body = {} if method == "GET" else {"json": {"title": "a"}}
        return api.request(method, f"{V2}/items", headers=headers, **body)

    assert send("GET", second[1], first[1]).status_code == 200
    assert send("GET", first[1], second[1]).status_code == 403
    assert send("POST", second[1], first[1]).status_code == 403
    assert send("POST", first[1], second[1]).status_code == 201
    assert send("GET", first[1], "guess").status_code == 401


@pytest.mark.parametrize("place", ["/items/events", "/audit/events"])
@pytest.mark.parametrize("scope", ALL)
def test_a_key_in_the_query_of_a_stream_is_as_good_as_in_the_header(
    api: Api, place: str, scope: str
) -> None:
    owner, key = new_key(api, [scope], "auditor")
    owner.create()
    accept = {"accept": "text/event-stream"}
    path = f"{V2}{place}"
    # The response to a GET does not end; that to HEAD has the same status.
    in_header = api.request("HEAD", path, token=key, headers=accept)
    in_query = api.request("HEAD", f"{path}?access_token={key}", headers=accept)
    needed = "audit" if place == "/audit/events" else "read"
    expected = 200 if scope == needed else 403
    assert (in_header.status_code, in_query.status_code) == (expected, expected)


def test_a_key_leaves_no_trace_of_its_secret(api: Api) -> None:
    owner, key = new_key(api)
    assert api.request("GET", f"{V2}/items", token=key).status_code == 200
    shown = owner.get("/auth/keys").text + owner.get("/auth/me/events").text
    text = b"".join(api.log_lines()).decode() + shown
    assert key.split("_")[2] not in text
    assert json.loads(owner.get("/auth/keys").text)[0]["id"] == key.split("_")[1]
