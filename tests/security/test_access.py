"""Who may do what: every operation of the OpenAPI document, for everybody there is.

`ACCESS` says of each operation whom it is for. An operation that is not in it fails, so a new one
cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import httpx
import msgspec
import pytest

from eventapi.commands.users import DisableUser, GrantRole
from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem, elsewhere
from tests.openapi import served


class Access(Enum):
    """Whom an operation is for."""

    ANYBODY = "whoever asks, with whatever token"
    SESSION = "who is logged in, about what is theirs"
    AUDITOR = "auditors"
    READER = "the owner of the thing in the path, and auditors"
    OWNER = "the owner of the thing in the path; to others it is not there"


class Rule(msgspec.Struct, frozen=True):
    """Whom an operation is for, and a body with which it can be done."""

    access: Access
    body: Any = None


_ITEM = {"title": "a title"}
_PASSWORDS = {"current_password": PASSWORD, "new_password": "another " + PASSWORD}

ACCESS: Mapping[tuple[str, str], Rule] = {
    ("GET", "/"): Rule(Access.ANYBODY),
    ("GET", "/docs"): Rule(Access.ANYBODY),
    ("GET", "/openapi.json"): Rule(Access.ANYBODY),
    ("GET", "/problems/{slug}"): Rule(Access.ANYBODY),
    ("GET", "/health"): Rule(Access.ANYBODY),
    ("GET", "/health/live"): Rule(Access.ANYBODY),
    ("GET", "/health/ready"): Rule(Access.ANYBODY),
    ("GET", "/metrics"): Rule(Access.ANYBODY),
    ("POST", "/auth/register"): Rule(Access.ANYBODY, {"username": "x"}),
    ("POST", "/auth/login"): Rule(Access.ANYBODY, {"username": "x"}),
    ("POST", "/auth/refresh"): Rule(Access.ANYBODY, {"refresh": "x"}),
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
    ("GET", "/audit/events"): Rule(Access.AUDITOR),
    ("GET", "/audit/events/{position}"): Rule(Access.AUDITOR),
    ("GET", "/audit/state"): Rule(Access.AUDITOR),
    ("GET", "/log/checkpoint"): Rule(Access.ANYBODY),
    ("GET", "/log/cosigned"): Rule(Access.ANYBODY),
    ("GET", "/log/key"): Rule(Access.ANYBODY),
    ("GET", "/log/consistency/{size}"): Rule(Access.ANYBODY),
    ("GET", "/log/tile/{level}/{place}"): Rule(Access.ANYBODY),
    ("GET", "/log/tile/entries/{place}"): Rule(Access.AUDITOR),
    ("GET", "/log/proof/{position}"): Rule(Access.READER),
}


class Operation(msgspec.Struct, frozen=True):
    """One of the document; ``path`` is a template."""

    method: str
    path: str

    @property
    def rule(self) -> Rule:
        plain = self.path.removeprefix("/api/v1").removeprefix("/api/v2")
        return ACCESS["GET" if self.method == "HEAD" else self.method, plain]

    @property
    def makes_an_item(self) -> bool:
        """Whether `asked` needs an event to ask about."""
        return "{item_id}" in self.path or "{position}" in self.path

    def asked(self, api: Api, owner: Caller, token: str | None) -> httpx.Response:
        """The answer to somebody's wish to do it to a thing of the owner's."""
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
        # What streams has no end; its head says the same.
        method = "HEAD" if path.endswith("/items/events") else self.method
        return api.request(method, path, token=token, **body)


def _documented() -> list[Operation]:
    with Api() as api:
        paths = served(api.request("GET", "/openapi.json").json())
    return [Operation(method.upper(), path) for path in paths for method in paths[path]]


DOCUMENTED = _documented()


def names(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def those_for(*kinds: Access) -> list[Operation]:
    return [one for one in DOCUMENTED if one.rule.access in kinds]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def nobody(_: Api) -> None:
    """Who brings no token."""


def guesser(_: Api) -> str:
    return "guess.guess.guess"


def refresher(api: Api) -> str:
    """Who takes the refresh token for an access token."""
    token: str = api.caller().tokens["refresh_token"]
    return token


def gone(api: Api) -> str:
    """Whose session has ended."""
    caller = api.caller()
    assert caller.post("/auth/logout").status_code == 204
    return caller.token


def disabled(api: Api) -> str:
    caller = api.caller()
    elsewhere(api, DisableUser(caller.name, "operator/test"))
    return caller.token


def erased(api: Api) -> str:
    caller = api.caller()
    assert caller.request("DELETE", "/auth/me", json={"password": PASSWORD}).status_code == 204
    return caller.token


def user(api: Api) -> str:
    return api.caller().token


def auditor(api: Api) -> str:
    caller = api.caller()
    elsewhere(api, GrantRole(caller.name, "auditor", "operator/test"))
    return caller.token


def operator(api: Api) -> str:
    caller = api.caller()
    elsewhere(api, GrantRole(caller.name, "operator", "operator/test"))
    return caller.token


Somebody = Callable[[Api], str | None]
OUTSIDERS: list[Somebody] = [nobody, guesser, refresher, gone, disabled, erased]
INSIDERS: list[Somebody] = [user, auditor, operator]
INSIDE = (Access.SESSION, Access.OWNER, Access.READER, Access.AUDITOR)


def test_every_operation_has_its_rule() -> None:
    plain = [one for one in DOCUMENTED if not one.path.startswith("/api/")]
    assert {(one.method, one.path) for one in plain if one.method != "HEAD"} == set(ACCESS)
    assert {one.path[: len("/api/v1")] for one in DOCUMENTED} >= {"/api/v1", "/api/v2"}


@pytest.mark.parametrize("operation", those_for(*INSIDE), ids=names)
@pytest.mark.parametrize("somebody", OUTSIDERS)
def test_who_is_not_logged_in_is_asked_to(
    api: Api, operation: Operation, somebody: Somebody
) -> None:
    owner = api.caller()
    token = somebody(api)
    before = api.log.position + operation.makes_an_item
    answer = operation.asked(api, owner, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if answer.request.method != "HEAD":
        assert_problem(answer, 401, "unauthenticated")
    assert api.log.position == before


@pytest.mark.parametrize(
    ("somebody", "operation"),
    [
        (somebody, operation)
        for somebody in INSIDERS
        for operation in those_for(Access.OWNER, Access.READER)
        if somebody is not auditor or operation.rule.access is Access.OWNER
    ],
    ids=lambda one: names(one) if isinstance(one, Operation) else one.__name__,
)
def test_what_is_anothers_is_not_there_whatever_role_one_has(
    api: Api, operation: Operation, somebody: Somebody
) -> None:
    owner = api.caller()
    token = somebody(api)
    before = api.log.position + operation.makes_an_item
    answer = operation.asked(api, owner, token)
    assert answer.status_code == 404
    if answer.request.method != "HEAD":
        assert_problem(answer, 404, "not-found")
    assert api.log.position == before


@pytest.mark.parametrize(
    "operation", those_for(Access.SESSION, Access.OWNER, Access.READER), ids=names
)
def test_the_owner_may(api: Api, operation: Operation) -> None:
    owner = api.caller()
    assert operation.asked(api, owner, owner.token).is_success


@pytest.mark.parametrize("operation", those_for(Access.SESSION), ids=names)
@pytest.mark.parametrize("somebody", INSIDERS)
def test_everybody_may_with_what_is_theirs(
    api: Api, operation: Operation, somebody: Somebody
) -> None:
    """And nobody else's is in the answer."""
    owner = api.caller()
    secret = f"of {owner.name}"
    owner.create(secret)
    answer = operation.asked(api, owner, somebody(api))
    assert answer.is_success
    assert owner.name not in answer.text


@pytest.mark.parametrize("operation", those_for(Access.AUDITOR), ids=names)
@pytest.mark.parametrize("somebody", [user, operator])
def test_what_is_for_auditors_is_for_nobody_else(
    api: Api, operation: Operation, somebody: Somebody
) -> None:
    answer = operation.asked(api, api.caller(), somebody(api))
    assert answer.status_code == 403
    if answer.request.method != "HEAD":
        assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("operation", those_for(Access.AUDITOR, Access.READER), ids=names)
def test_auditors_may(api: Api, operation: Operation) -> None:
    assert operation.asked(api, api.caller(), auditor(api)).is_success


@pytest.mark.parametrize("operation", those_for(Access.ANYBODY), ids=names)
def test_what_is_for_anybody_does_not_depend_on_the_token(api: Api, operation: Operation) -> None:
    owner = api.caller()
    statuses = {
        operation.asked(api, owner, somebody(api)).status_code
        for somebody in (*OUTSIDERS, *INSIDERS)
    }
    assert statuses <= {200, 404, 422}
    assert len(statuses) == 1
