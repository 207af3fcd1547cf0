"""Authorization: every operation of the OpenAPI document for every kind of caller.

`operations.ACCESS` lists who may use each. A test fails for an operation that is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from eventapi.commands.users import DisableUser, GrantRole
from eventapi.http.routes import mailed_links
from tests.eventapi.http.client import OPERATOR, Api, assert_problem
from tests.openapi import served
from tests.security.operations import (
    ACCESS,
    DOCUMENTED,
    Access,
    Operation,
    name_of,
    operations_for,
)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch, Api() as running:
        # These tests are not about the time of answers.
        patch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)
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
NOT_PUBLIC = tuple(one for one in Access if one is not Access.PUBLIC)


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


def test_the_document_names_the_token_of_every_operation_that_needs_one(api: Api) -> None:
    paths = served(api.request("GET", "/openapi.json").json())
    for one in DOCUMENTED:
        needed = bool(paths[one.path][one.method.lower()].get("security"))
        assert needed == (one.rule.access is not Access.PUBLIC), name_of(one)


@pytest.mark.parametrize(
    ("operation", "token_of"),
    [
        (operation, token_of)
        for operation in operations_for(*NOT_PUBLIC)
        for token_of in OUTSIDERS
        if token_of is not no_token or operation.rule.access is not Access.OPTIONAL
    ],
    ids=lambda one: name_of(one) if isinstance(one, Operation) else one.__name__,
)
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
    "operation",
    operations_for(Access.SESSION, Access.OPTIONAL, Access.OWNER, Access.READER),
    ids=name_of,
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


FORBIDDEN: Mapping[Access, list[TokenOf]] = {
    Access.AUDITOR: [user, operator],
    Access.STAFF: [user],
    Access.OPERATOR: [user, auditor],
}


@pytest.mark.parametrize(
    ("operation", "token_of"),
    [
        (operation, token_of)
        for access, others in FORBIDDEN.items()
        for operation in operations_for(access)
        for token_of in others
    ],
    ids=lambda one: name_of(one) if isinstance(one, Operation) else one.__name__,
)
def test_operations_of_a_role_are_forbidden_for_others(
    api: Api, operation: Operation, token_of: TokenOf
) -> None:
    answer = operation.send(api, api.caller(), token_of(api))

    assert answer.status_code == 403
    if answer.request.method != "HEAD":
        assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("operation", operations_for(Access.STAFF, Access.OPERATOR), ids=name_of)
def test_operators_may_use_their_operations(api: Api, operation: Operation) -> None:
    assert operation.send(api, api.caller(), operator(api)).is_success


@pytest.mark.parametrize(
    "operation", operations_for(Access.AUDITOR, Access.READER, Access.STAFF), ids=name_of
)
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
