"""Who may use ``/api/v2/users``, and that one operator always remains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from eventapi.commands.users import DisableUser, GrantRole, RevokeRole
from tests.eventapi.http.client import OPERATOR, PASSWORD, Api, Caller, assert_problem
from tests.eventapi.http.resources.server import V2

NEW = {"username": "newcomer", "email": "newcomer@example.org"}

Operation = tuple[str, str, Any]
"""Method, path and body of a request."""

READS: list[Operation] = [("GET", "/users", None), ("GET", "/users/{id}", None)]
READS += [("HEAD", path, None) for _, path, _ in READS]
WRITES: list[Operation] = [
    ("POST", "/users", NEW),
    ("PATCH", "/users/{id}", {"disabled": True}),
    ("PATCH", "/users/{id}", {"roles": ["operator"]}),
    ("PATCH", "/users/{id}", {}),
    ("POST", "/users/{id}/password-reset", None),
    ("POST", "/users/{id}/password-reset", {"link": True}),
    ("DELETE", "/users/{id}", None),
]


def name_of(operation: object) -> str:
    if isinstance(operation, tuple):
        return " ".join(map(str, operation))
    return str(getattr(operation, "__name__", operation))


@pytest.fixture
def alone() -> Iterator[Api]:
    """An app with the operator `root`, user 1, and the user `bob`, user 2."""
    with Api() as running:
        assert running.register("root").status_code == running.register("bob").status_code == 200
        running.execute(GrantRole("root", "operator", OPERATOR))
        yield running


def send(api: Api, operation: Operation, token: str | None, user: int) -> httpx.Response:
    method, path, body = operation
    how = {} if body is None else {"json": body}
    return api.request(method, V2 + path.replace("{id}", str(user)), token=token, **how)


def new_user(api: Api) -> int:
    """The number of a new user."""
    api.caller()
    (started,) = api.log_lines(api.log.position - 1)
    number: int = json.loads(started)["data"]["user"]
    return number


def with_role(role: str) -> Callable[[Api], str]:
    """A kind of caller: a new user with a role."""

    def token(api: Api) -> str:
        caller = api.caller()
        api.execute(GrantRole(caller.name, role, OPERATOR))
        return caller.token

    token.__name__ = role
    return token


def user(api: Api) -> str:
    return api.caller().token


def former_operator(api: Api) -> str:
    caller = api.caller()
    api.execute(GrantRole(caller.name, "operator", OPERATOR))
    api.execute(RevokeRole(caller.name, "operator", OPERATOR))
    return caller.token


def disabled_operator(api: Api) -> str:
    caller = api.caller()
    api.execute(GrantRole(caller.name, "operator", OPERATOR))
    api.execute(DisableUser(caller.name, OPERATOR))
    return caller.token


def no_token(_: Api) -> None:
    """Send no token."""


TokenOf = Callable[[Api], str | None]
auditor, operator = with_role("auditor"), with_role("operator")


@pytest.mark.parametrize("operation", [*READS, *WRITES], ids=name_of)
@pytest.mark.parametrize("token_of", [no_token, disabled_operator])
def test_callers_without_a_valid_token_get_a_401(
    api: Api, token_of: TokenOf, operation: Operation
) -> None:
    token, number = token_of(api), new_user(api)
    before = api.log.position
    assert send(api, operation, token, number).status_code == 401
    assert api.log.position == before


@pytest.mark.parametrize(
    ("token_of", "operation"),
    [
        *((one, operation) for one in (user, former_operator) for operation in (*READS, *WRITES)),
        *((auditor, operation) for operation in WRITES),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_others_are_forbidden_also_for_unknown_users(
    api: Api, token_of: TokenOf, operation: Operation, is_known: bool
) -> None:
    token, number = token_of(api), new_user(api) if is_known else 99_999
    before = api.log.position
    answer = send(api, operation, token, number)
    assert answer.status_code == 403
    if answer.request.method != "HEAD":
        assert_problem(answer, 403, "forbidden")
    assert api.log.position == before


@pytest.mark.parametrize(
    ("token_of", "operation"),
    [
        *((auditor, operation) for operation in READS),
        *((operator, operation) for operation in (*READS, *WRITES)),
    ],
    ids=name_of,
)
def test_auditors_read_and_operators_do_everything(
    api: Api, token_of: TokenOf, operation: Operation
) -> None:
    assert send(api, operation, token_of(api), new_user(api)).is_success


@pytest.mark.parametrize(
    ("role", "scopes", "status"),
    [
        ("auditor", ["audit"], 200),
        ("auditor", ["read"], 403),
        ("auditor", ["write"], 403),
        ("operator", ["read"], 200),
        ("operator", ["write"], 403),
    ],
)
def test_a_key_reads_users_by_the_scope_of_its_users_role(
    api: Api, role: str, scopes: list[str], status: int
) -> None:
    caller = api.caller(None, V2)
    api.execute(GrantRole(caller.name, role, OPERATOR))
    key = caller.post("/auth/keys", json={"name": "a key", "scopes": scopes}).json()["key"]
    assert {send(api, read, key, new_user(api)).status_code for read in READS} == {status}


def key_of_operator(api: Api) -> str:
    """An API key with all scopes."""
    caller = api.caller(None, V2)
    for role in ("operator", "auditor"):
        api.execute(GrantRole(caller.name, role, OPERATOR))
    answer = caller.post("/auth/keys", json={"name": "all", "scopes": ["read", "write", "audit"]})
    key: str = answer.json()["key"]
    return key


@pytest.mark.parametrize("operation", [*READS, *WRITES], ids=name_of)
def test_an_api_key_of_an_operator_only_reads(api: Api, operation: Operation) -> None:
    token, number = key_of_operator(api), new_user(api)
    before = api.log.position
    answer = send(api, operation, token, number)
    assert answer.status_code == (403 if operation in WRITES else 200)
    written = [json.loads(line)["type"] for line in api.log_lines(before)]
    assert set(written) <= {"key.used"}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("path", ["/users", "/users/1", "/users/1/password-reset"])
def test_version_1_has_no_users(api: Api, prefix: str, path: str) -> None:
    token = operator(api)
    for method in ("GET", "POST", "PATCH", "DELETE"):
        assert_problem(api.request(method, prefix + path, token=token), 404, "not-found")


# The last operator

TAKES_THE_ROLE: list[Operation] = [
    ("PATCH", "/users/{id}", {"disabled": True}),
    ("PATCH", "/users/{id}", {"roles": []}),
    ("PATCH", "/users/{id}", {"roles": ["auditor"]}),
    ("PATCH", "/users/{id}", {"roles": [], "disabled": True}),
    ("DELETE", "/users/{id}", None),
]


def root_of(alone: Api) -> Caller:
    return Caller(alone, "root", alone.login("root").json(), V2)


def is_operator(alone: Api, name: str) -> bool:
    """Whether a user can log in and is an operator."""
    answer = alone.login(name)
    if answer.status_code != 200:
        return False
    me = alone.request("GET", "/api/v2/auth/me", token=answer.json()["access_token"]).json()
    return "operator" in me["roles"]


@pytest.mark.parametrize("operation", TAKES_THE_ROLE, ids=name_of)
def test_the_last_operator_cannot_go(alone: Api, operation: Operation) -> None:
    root = root_of(alone)
    before = alone.log.position
    problem = assert_problem(send(alone, operation, root.token, 1), 409, "action-refused")
    assert "root is the last operator" in problem["detail"]
    assert alone.log.position == before


def test_the_last_operator_may_change_other_roles(alone: Api) -> None:
    answer = root_of(alone).patch("/users/1", json={"roles": ["operator", "auditor"]})
    assert answer.json()["roles"] == ["auditor", "operator"]


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v2"])
def test_the_last_operator_cannot_erase_the_own_account(alone: Api, prefix: str) -> None:
    root = root_of(alone).under(prefix)
    assert_problem(root.erase(), 409, "action-refused")
    alone.execute(GrantRole("bob", "operator", OPERATOR))
    assert root.erase().status_code == 204


@pytest.mark.parametrize("operation", TAKES_THE_ROLE, ids=name_of)
def test_one_of_several_operators_may_go(alone: Api, operation: Operation) -> None:
    root = root_of(alone)
    alone.execute(GrantRole("bob", "operator", OPERATOR))
    assert send(alone, operation, root.token, 1).is_success
    assert not is_operator(alone, "root")
    assert is_operator(alone, "bob")


@pytest.mark.parametrize("operation", TAKES_THE_ROLE, ids=name_of)
@pytest.mark.parametrize("count", [2, 4])
def test_of_operators_who_remove_each_other_at_once_one_remains(
    alone: Api, operation: Operation, count: int
) -> None:
    """Each removes the next one; no chain of removals ends without an operator."""
    names = [f"op-{number}" for number in range(count)]
    callers = [alone.caller(name, V2) for name in names]
    for name in names:
        alone.execute(GrantRole(name, "operator", OPERATOR))
    alone.execute(RevokeRole("root", "operator", OPERATOR))
    method, path, body = operation
    how = {} if body is None else {"json": body}
    places = [V2 + path.replace("{id}", str(3 + (at + 1) % count)) for at in range(count)]

    answers = alone.request_all(
        (method, place, {"token": caller.token} | how)
        for place, caller in zip(places, callers, strict=True)
    )

    assert {answer.status_code for answer in answers} <= {200, 204, 401, 403, 409}
    assert any(answer.is_success for answer in answers)
    remaining = [name for name in names if is_operator(alone, name)]
    assert len(remaining) == count - sum(answer.is_success for answer in answers) > 0


def test_of_operators_who_erase_themselves_at_once_one_remains(alone: Api) -> None:
    bob = Caller(alone, "bob", alone.login("bob").json(), V2)
    alone.execute(GrantRole("bob", "operator", OPERATOR))
    answers = alone.request_all(
        ("DELETE", f"{V2}/auth/me", {"token": caller.token, "json": {"password": PASSWORD}})
        for caller in (root_of(alone), bob)
    )
    assert sorted(answer.status_code for answer in answers) == [204, 409]
