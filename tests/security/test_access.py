"""Authorization: every operation of the OpenAPI document for every kind of caller.

`ACCESS` lists who may use each operation. A test fails for an operation that is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import httpx
import msgspec
import pytest

from eventapi.commands.users import DisableUser, GrantRole
from tests.eventapi.http.client import OPERATOR, PASSWORD, Api, Caller, assert_problem
from tests.openapi import served


class Access(Enum):
    """Who may use an operation."""

    PUBLIC = "every client, with any token or none"
    SESSION = "every logged-in user, for their own data"
    AUDITOR = "auditors"
    READER = "the owner of the resource in the path, and auditors"
    OWNER = "the owner of the resource in the path; others get a 404"


class Rule(msgspec.Struct, frozen=True):
    """Who may use an operation, and a body with which it succeeds."""

    access: Access
    body: Any = None


_ITEM = {"title": "a title"}
_PASSWORDS = {"current_password": PASSWORD, "new_password": "another " + PASSWORD}

ACCESS: Mapping[tuple[str, str], Rule] = {
    ("GET", "/"): Rule(Access.PUBLIC),
    ("GET", "/docs"): Rule(Access.PUBLIC),
    ("GET", "/openapi.json"): Rule(Access.PUBLIC),
    ("GET", "/problems/{slug}"): Rule(Access.PUBLIC),
    ("GET", "/health"): Rule(Access.PUBLIC),
    ("GET", "/health/live"): Rule(Access.PUBLIC),
    ("GET", "/health/ready"): Rule(Access.PUBLIC),
    ("GET", "/metrics"): Rule(Access.PUBLIC),
    ("POST", "/auth/register"): Rule(Access.PUBLIC, {"username": "x"}),
    ("POST", "/auth/login"): Rule(Access.PUBLIC, {"username": "x"}),
    ("POST", "/auth/refresh"): Rule(Access.PUBLIC, {"refresh": "x"}),
    ("POST", "/auth/logout"): Rule(Access.SESSION),
    ("POST", "/auth/password"): Rule(Access.SESSION, _PASSWORDS),
    ("GET", "/auth/me"): Rule(Access.SESSION),
    ("PATCH", "/auth/me"): Rule(Access.SESSION, {"full_name": "A Name"}),
    ("DELETE", "/auth/me"): Rule(Access.SESSION, {"password": PASSWORD}),
    ("GET", "/auth/sessions"): Rule(Access.SESSION),
    ("DELETE", "/auth/sessions"): Rule(Access.SESSION),
    ("DELETE", "/auth/sessions/{session_id}"): Rule(Access.OWNER),
    ("POST", "/items"): Rule(Access.SESSION, _ITEM),
    ("GET", "/items"): Rule(Access.SESSION),
    ("GET", "/items/{item_id}"): Rule(Access.OWNER),
    ("GET", "/items/{item_id}/history"): Rule(Access.OWNER),
    ("POST", "/items/{item_id}/restore"): Rule(Access.OWNER, {"as_of": "2999-01-01T00:00:00Z"}),
    ("PUT", "/items/{item_id}"): Rule(Access.OWNER, _ITEM),
    ("PATCH", "/items/{item_id}"): Rule(Access.OWNER, _ITEM),
    ("DELETE", "/items/{item_id}"): Rule(Access.OWNER),
    ("GET", "/items/events"): Rule(Access.SESSION),
    ("POST", "/batch"): Rule(
        Access.SESSION, {"requests": [{"method": "POST", "path": "/items", "body": _ITEM}]}
    ),
    ("GET", "/audit/events"): Rule(Access.AUDITOR),
    ("GET", "/audit/events/{position}"): Rule(Access.AUDITOR),
    ("GET", "/audit/state"): Rule(Access.AUDITOR),
    ("GET", "/log/checkpoint"): Rule(Access.PUBLIC),
    ("GET", "/log/cosigned"): Rule(Access.PUBLIC),
    ("GET", "/log/key"): Rule(Access.PUBLIC),
    ("GET", "/log/consistency/{size}"): Rule(Access.PUBLIC),
    ("GET", "/log/tile/{level}/{place}"): Rule(Access.PUBLIC),
    ("GET", "/log/tile/entries/{place}"): Rule(Access.AUDITOR),
    ("GET", "/log/proof/{position}"): Rule(Access.READER),
}


class Operation(msgspec.Struct, frozen=True):
    """An operation of the document; ``path`` is a template."""

    method: str
    path: str

    @property
    def rule(self) -> Rule:
        plain = self.path.removeprefix("/api/v1").removeprefix("/api/v2")
        return ACCESS["GET" if self.method == "HEAD" else self.method, plain]

    @property
    def needs_an_event(self) -> bool:
        """Whether `send` creates an item of the owner first, which is one event."""
        return "{item_id}" in self.path or "{position}" in self.path

    def send(self, api: Api, owner: Caller, token: str | None) -> httpx.Response:
        """Send the operation with a token, for a resource of the owner."""
        path = self.path.replace("{slug}", "not-found").replace("{size}", "1")
        path = path.replace("{level}/{place}", "0/000.p/1").replace("{place}", "000.p/1")
        if "{item_id}" in path:
            path = path.replace("{item_id}", str(owner.create()))
        if "{session_id}" in path:
            (session,) = owner.get("/auth/sessions").json()
            path = path.replace("{session_id}", session["id"])
        if "{position}" in path:
            owner.create()
            path = path.replace("{position}", str(api.log.position))
        body = {} if self.rule.body is None else {"json": self.rule.body}
        # A stream does not end; HEAD has the same status.
        method = "HEAD" if path.endswith("/items/events") else self.method
        return api.request(method, path, token=token, **body)


def _documented() -> list[Operation]:
    with Api() as api:
        paths = served(api.request("GET", "/openapi.json").json())
    return [Operation(method.upper(), path) for path in paths for method in paths[path]]


DOCUMENTED = _documented()


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def operations_for(*kinds: Access) -> list[Operation]:
    return [one for one in DOCUMENTED if one.rule.access in kinds]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def no_token(_: Api) -> None:
    """Send no token."""


def guessed(_: Api) -> str:
    return "guess.guess.guess"


def refresh_token(api: Api) -> str:
    """Use a refresh token as an access token."""
    token: str = api.caller().tokens["refresh_token"]
    return token


def logged_out(api: Api) -> str:
    """Use the token of a session that has ended."""
    caller = api.caller()
    assert caller.post("/auth/logout").status_code == 204
    return caller.token


def disabled(api: Api) -> str:
    caller = api.caller()
    api.execute(DisableUser(caller.name, OPERATOR))
    return caller.token


def erased(api: Api) -> str:
    caller = api.caller()
    assert caller.erase().status_code == 204
    return caller.token


def user(api: Api) -> str:
    return api.caller().token


def auditor(api: Api) -> str:
    return api.auditor().token


def operator(api: Api) -> str:
    caller = api.caller()
    api.execute(GrantRole(caller.name, "operator", OPERATOR))
    return caller.token


TokenOf = Callable[[Api], str | None]
"""A kind of caller: a function that returns the token they send."""

OUTSIDERS: list[TokenOf] = [no_token, guessed, refresh_token, logged_out, disabled, erased]
INSIDERS: list[TokenOf] = [user, auditor, operator]
NOT_PUBLIC = (Access.SESSION, Access.OWNER, Access.READER, Access.AUDITOR)


def test_every_operation_has_a_rule() -> None:
    ruled = {
        (one.method, one.path.removeprefix("/api/v2"))
        for one in DOCUMENTED
        if one.method != "HEAD" and not one.path.startswith("/api/v1/")
    }

    assert {(method, path or "/") for method, path in ruled} >= set(ACCESS)
    plain = {(one.method, one.path) for one in DOCUMENTED if not one.path.startswith("/api/")}
    assert plain <= set(ACCESS) | {("HEAD", path) for _, path in ACCESS}
    assert {one.path[: len("/api/v1")] for one in DOCUMENTED} >= {"/api/v1", "/api/v2"}


@pytest.mark.parametrize("operation", operations_for(*NOT_PUBLIC), ids=name_of)
@pytest.mark.parametrize("token_of", OUTSIDERS)
def test_callers_without_a_valid_token_get_a_401(
    api: Api, operation: Operation, token_of: TokenOf
) -> None:
    owner = api.caller()
    token = token_of(api)
    before = api.log.position + operation.needs_an_event

    answer = operation.send(api, owner, token)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if answer.request.method != "HEAD":
        assert_problem(answer, 401, "unauthenticated")
    assert api.log.position == before


@pytest.mark.parametrize(
    ("token_of", "operation"),
    [
        (token_of, operation)
        for token_of in INSIDERS
        for operation in operations_for(Access.OWNER, Access.READER)
        if token_of is not auditor or operation.rule.access is Access.OWNER
    ],
    ids=lambda one: name_of(one) if isinstance(one, Operation) else one.__name__,
)
def test_resources_of_others_are_a_404_for_every_role(
    api: Api, operation: Operation, token_of: TokenOf
) -> None:
    owner = api.caller()
    token = token_of(api)
    before = api.log.position + operation.needs_an_event

    answer = operation.send(api, owner, token)

    assert answer.status_code == 404
    if answer.request.method != "HEAD":
        assert_problem(answer, 404, "not-found")
    assert api.log.position == before


@pytest.mark.parametrize(
    "operation", operations_for(Access.SESSION, Access.OWNER, Access.READER), ids=name_of
)
def test_owners_may_use_their_resources(api: Api, operation: Operation) -> None:
    owner = api.caller()
    assert operation.send(api, owner, owner.token).is_success


@pytest.mark.parametrize("operation", operations_for(Access.SESSION), ids=name_of)
@pytest.mark.parametrize("token_of", INSIDERS)
def test_every_user_may_use_their_own_data(
    api: Api, operation: Operation, token_of: TokenOf
) -> None:
    """The answer contains no data of other users."""
    owner = api.caller()
    secret = f"of {owner.name}"
    owner.create(secret)

    answer = operation.send(api, owner, token_of(api))

    assert answer.is_success
    assert owner.name not in answer.text


@pytest.mark.parametrize("operation", operations_for(Access.AUDITOR), ids=name_of)
@pytest.mark.parametrize("token_of", [user, operator])
def test_operations_for_auditors_are_forbidden_for_others(
    api: Api, operation: Operation, token_of: TokenOf
) -> None:
    answer = operation.send(api, api.caller(), token_of(api))

    assert answer.status_code == 403
    if answer.request.method != "HEAD":
        assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("operation", operations_for(Access.AUDITOR, Access.READER), ids=name_of)
def test_auditors_may_use_their_operations(api: Api, operation: Operation) -> None:
    assert operation.send(api, api.caller(), auditor(api)).is_success


@pytest.mark.parametrize("operation", operations_for(Access.PUBLIC), ids=name_of)
def test_public_operations_do_not_depend_on_the_token(api: Api, operation: Operation) -> None:
    owner = api.caller()

    statuses = {
        operation.send(api, owner, token_of(api)).status_code
        for token_of in (*OUTSIDERS, *INSIDERS)
    }

    assert statuses <= {200, 404, 422}
    assert len(statuses) == 1
