"""The token endpoints for clients of OAuth 2.0 (RFC 6749): forms and error codes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.eventapi.http.client import Api, Caller, assert_problem, credentials

_DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, appendix A.8."""


def post_form(api: Api, path: str, **fields: str) -> Any:
    return api.request("POST", path, data=fields)


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/login"])
def test_a_form_can_refresh_tokens(ann: Caller, prefix: str, path: str) -> None:
    given = ann.tokens["refresh_token"]
    answer = post_form(ann.api, prefix + path, grant_type="refresh_token", refresh_token=given)
    assert answer.status_code == 200

    tokens = answer.json()
    assert tokens["refresh_token"] != given
    assert Caller(ann.api, ann.name, tokens).get("/auth/me").status_code == 200


@pytest.mark.parametrize("grant", [{}, {"grant_type": ""}])
def test_a_form_with_only_a_refresh_token_refreshes_tokens(
    ann: Caller, grant: dict[str, str]
) -> None:
    answer = post_form(ann.api, "/auth/refresh", refresh_token=ann.tokens["refresh_token"], **grant)
    assert answer.status_code == 200


def test_a_login_form_may_contain_client_and_scope(ann: Caller, prefix: str) -> None:
    fields = credentials(ann.name) | {"grant_type": "password"}
    fields |= {"scope": "read", "client_id": "app", "client_secret": "s"}
    headers = {"authorization": "Basic YXBwOnM="}

    answer = ann.api.request("POST", f"{prefix}/auth/login", data=fields, headers=headers)

    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize("grant", ["password", "refresh_token"])
def test_every_repeated_field_is_reported(api: Api, prefix: str, grant: str) -> None:
    fields = {"username": ["a", "b"], "grant_type": [grant] * 2, "client_id": ["c", "d"]}

    answer = api.request("POST", f"{prefix}/auth/login", data=fields)
    problem = assert_problem(answer, 422, "validation-failed")
    missing = "/password" if grant == "password" else "/refresh_token"
    found = {(fault["pointer"], fault["detail"]) for fault in problem["errors"]}
    twice = "is given more than once"

    assert found == {("/username", twice), ("/grant_type", twice), (missing, "is required")}


@pytest.mark.parametrize(
    ("path", "fields", "status", "slug", "code"),
    [
        ("/auth/login", {"username": "x", "password": "y"}, 401, "invalid-credentials", "grant"),
        ("/auth/login", {"username": "x"}, 422, "validation-failed", "request"),
        ("/auth/login", {"grant_type": "device"}, 422, "validation-failed", "type"),
        ("/auth/login", {"grant_type": "refresh_token"}, 422, "validation-failed", "request"),
        ("/auth/refresh", {"refresh_token": "none"}, 401, "unauthenticated", "grant"),
        ("/auth/refresh", {"grant_type": "password"}, 422, "validation-failed", "type"),
        ("/auth/refresh", {}, 422, "validation-failed", "request"),
    ],
)
def test_errors_of_the_token_endpoints_are_those_of_oauth(  # noqa: PLR0917 - pytest names them
    api: Api, prefix: str, path: str, fields: dict[str, str], status: int, slug: str, code: str
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}

    answer = api.request("POST", prefix + path, data=fields, headers=headers)
    problem = assert_problem(answer, status, slug)
    codes = {
        "grant": "invalid_grant",
        "request": "invalid_request",
        "type": "unsupported_grant_type",
    }

    assert problem["error"] == codes[code]
    assert _DESCRIPTION.fullmatch(problem["error_description"])


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ({"content": b"{"}, 400, "malformed-body"),
        ({"content": b"x" * 70_000}, 413, "body-too-large"),
        (
            {"content": b"<a/>", "headers": {"content-type": "text/xml"}},
            415,
            "unsupported-media-type",
        ),
        ({"json": {"username": '\u20ac"\\', "password": 5}}, 422, "validation-failed"),
    ],
)
def test_every_error_of_a_login_has_an_oauth_code(
    api: Api, prefix: str, how: dict[str, Any], status: int, slug: str
) -> None:
    how = {"headers": {"content-type": "application/json"}} | how

    problem = assert_problem(api.request("POST", f"{prefix}/auth/login", **how), status, slug)

    assert problem["error"] == "invalid_request"
    assert _DESCRIPTION.fullmatch(problem["error_description"])


def test_other_endpoints_have_no_oauth_members_in_errors(ann: Caller, prefix: str) -> None:
    assert "error" not in ann.under(prefix).get("/items/999999").json()


@pytest.mark.parametrize("path", ["/nothing/auth/login", "/items/1/auth/refresh", "/auth/login/x"])
def test_paths_that_only_end_like_token_endpoints_have_no_oauth_members(
    ann: Caller, path: str
) -> None:
    problem = ann.get(path).json()

    assert problem["status"] == 404
    assert not {"error", "error_description"} & set(problem)
