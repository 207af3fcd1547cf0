"""Rules for all answers: request ids, security headers, methods, paths, positions."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

EVERY_STATUS: dict[int, tuple[str, str, dict[str, Any]]] = {
    200: ("GET", "/health/live", {}),
    201: ("POST", "/api/v2/items", {"json": {"title": "a"}}),
    204: ("OPTIONS", "/items", {}),
    400: ("POST", "/items", {"content": b"{", "headers": {"content-type": "application/json"}}),
    401: ("GET", "/items", {"token": None}),
    404: ("GET", "/no/such/path", {}),
    405: ("PUT", "/items", {}),
    409: ("POST", "/api/v2/auth/register", {"json": {}}),
    412: ("DELETE", "/items/{number}", {"headers": {"if-match": '"0"'}}),
    413: ("POST", "/items", {"content": b" " * 100_000}),
    415: ("POST", "/api/v2/items", {"content": b"{}"}),
    422: ("POST", "/items", {"json": {}}),
    431: ("GET", "/items", {"headers": {"x-big": "x" * 40_000}}),
    503: ("GET", "/items", {"headers": {"min-event-position": "999999"}}),
}


def answer_of(ann: Caller, status: int, **headers: str) -> httpx.Response:
    """An answer with a given status."""
    method, path, how = EVERY_STATUS[status]
    if status == 409:
        taken = {"username": ann.name, "email": "x@example.org", "password": "12345678"}
        how = {"json": taken}
    if "{number}" in path:
        path = path.format(number=ann.create())
    how = how | {"headers": how.get("headers", {}) | headers}
    answer = ann.request(method, path, **how)
    assert answer.status_code == status
    return answer


@pytest.mark.parametrize("status", EVERY_STATUS)
def test_security_headers_are_on_every_answer_once(ann: Caller, status: int) -> None:
    answer = answer_of(ann, status)

    for name, value in SECURITY.items():
        assert answer.headers.get_list(name) == [value]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert "server" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("status", EVERY_STATUS)
def test_the_callers_request_id_is_on_every_answer(ann: Caller, status: int) -> None:
    answer = answer_of(ann, status, **{"x-request-id": "an-id.of_my~own!"})

    assert answer.headers.get_list("x-request-id") == ["an-id.of_my~own!"]
    if status >= 400:
        assert answer.json()["request_id"] == "an-id.of_my~own!"


@pytest.mark.parametrize("given", ["a", "A-Z.0_9~", "x" * 128, "!#$%&'*+-.^_`|~"])
def test_a_request_id_that_is_a_token_is_used(api: Api, given: str) -> None:
    answer = api.request("GET", "/health/live", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "a b", "x" * 129, "a,b", "a/b", "é", "a\tb", '"a"', "a\x7fb", "a:b", "{}"]
)
def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    headers = [(b"x-request-id", given.encode("latin-1"))]

    answer = api.request("GET", "/no/such/path", headers=headers)
    made = answer.headers["x-request-id"]

    assert made != given
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert answer.json()["request_id"] == made


def test_generated_request_ids_differ(api: Api) -> None:
    made = {api.request("GET", "/health/live").headers["x-request-id"] for _ in range(100)}
    assert len(made) == 100


def test_the_request_id_is_on_the_line_of_the_event(ann: Caller) -> None:
    ann.post("/items", json={"title": "a"}, headers={"x-request-id": "findable"})

    lines = ann.api.log_lines(ann.api.log.position - 1)
    assert b'"requestid":"findable"' in b"".join(lines)


PATHS = ["/items", "/items/{number}", "/auth/me", "/health", "/health/live", "/health/ready"]
UNVERSIONED_PATHS = ["/docs", "/openapi.json", "/problems/not-found", "/docs/start.js"]
READABLE = [prefix + path for prefix in PREFIXES for path in PATHS] + UNVERSIONED_PATHS


@pytest.mark.parametrize("path", READABLE)
def test_head_answers_the_headers_of_get_without_the_body(ann: Caller, path: str) -> None:
    path = path.format(number=ann.create())
    got, head = ann.get(path), ann.head(path)
    assert got.status_code == head.status_code == 200
    assert (bool(got.content), head.content) == (True, b"")

    varying = ["x-request-id"]
    if path.endswith("/health"):
        varying.append("content-length")
    for answer in (got, head):
        for name in varying:
            del answer.headers[name]
    assert got.headers == head.headers


@pytest.mark.parametrize("path", ["/items?limit=1", "/items/0", "/items?limit=0", "/nowhere"])
def test_head_answers_the_headers_of_get_for_links_and_problems(ann: Caller, path: str) -> None:
    ann.create()
    ann.create()

    got, head = ann.get(path), ann.head(path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert {name: head.headers.get(name) for name in ("content-length", "link")} == {
        name: got.headers.get(name) for name in ("content-length", "link")
    }


ALLOWED = {
    "/items": "GET, HEAD, OPTIONS, POST",
    "/items/1": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/auth/register": "OPTIONS, POST",
    "/auth/login": "OPTIONS, POST",
    "/auth/logout": "OPTIONS, POST",
    "/auth/me": "DELETE, GET, HEAD, OPTIONS, PATCH",
    "/auth/refresh": "OPTIONS, POST",
    "/auth/password": "OPTIONS, POST",
    "/auth/sessions": "DELETE, GET, HEAD, OPTIONS",
    "/auth/sessions/1": "DELETE, OPTIONS",
    "/health": "GET, HEAD, OPTIONS",
    "/health/live": "GET, HEAD, OPTIONS",
    "/health/ready": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_allow_lists_all_methods_of_a_path_and_no_other(api: Api, prefix: str, path: str) -> None:
    options = api.request("OPTIONS", prefix + path)
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == ALLOWED[path]

    listed = set(ALLOWED[path].split(", "))
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X"}
    for method in methods - listed:
        answer = api.request(method, prefix + path)
        assert answer.headers["allow"] == ALLOWED[path]
        if method != "HEAD":
            assert_problem(answer, 405, "method-not-allowed")
    for method in listed:
        assert api.request(method, prefix + path).status_code != 405


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/problems/not-found"])
def test_the_documentation_is_read_only(api: Api, path: str) -> None:
    assert api.request("OPTIONS", path).headers["allow"] == "GET, HEAD, OPTIONS"
    answer = api.request("DELETE", path)
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere/",
        "/nowhere",
        "/item",
        "/ITEMS",
        "/items/1/2",
        "/auth",
        "/api/v3/items",
        "/api/v1",
        "/api/items",
        "/api/v1/api/v1/items",
        "/api/v1/docs/x",
        "//items",
        "/items//1",
        "/items//",
        "///",
        "/api/v2//items",
        "/%00",
        "/items%0d%0aX: y",
        "/%ff",
        "/" + "x" * 8000,
        "/.%2e/items",
        "/docs/assets/",
        "/docs/assets/index.html",
        "/docs/assets/%2e%2e/%2e%2e/app.py",
        "/docs/assets/..%2f..%2fapp.py",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_an_unknown_path_is_a_404(ann: Caller, method: str, path: str) -> None:
    assert_problem(ann.request(method, path), 404, "not-found")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-big": "x" * 33_000},
        {f"x-{number}": "x" for number in range(101)},
        {"authorization": "Bearer " + "x" * 8193},
        {f"x-{number}": "x" * 1000 for number in range(40)},
    ],
)
def test_too_many_or_too_large_headers_are_refused(api: Api, headers: dict[str, str]) -> None:
    assert_problem(api.request("GET", "/items", headers=headers), 431, "headers-too-large")


def test_a_request_may_require_a_position_that_is_reached(ann: Caller) -> None:
    number = ann.create()
    position = str(ann.api.log.position)
    for wanted in ("0", "1", position):
        headers = {"min-event-position": wanted}
        assert ann.get(f"/items/{number}", headers=headers).status_code == 200
        assert ann.post("/items", json={"title": "a"}, headers=headers).status_code == 200


@pytest.mark.parametrize("wanted", ["", "x", "-1", "+1", "1.0", "01", "0x1", "1 2", "１", "9" * 20])
def test_a_required_position_must_be_a_number(ann: Caller, wanted: str) -> None:
    headers = [(b"min-event-position", wanted.encode())]
    assert_problem(ann.get("/items", headers=headers), 422, "validation-failed")


def test_a_required_position_that_is_not_reached_in_time_is_a_503(ann: Caller) -> None:
    future = str(ann.api.log.position + 1)

    answer = ann.get("/items", headers={"min-event-position": future})

    assert_problem(answer, 503, "log-unavailable")
    assert answer.headers["retry-after"] == "1"


def test_an_unauthenticated_request_does_not_wait_for_a_position(ann: Caller) -> None:
    """Otherwise any client could make the server wait for a missing position."""
    future = {"min-event-position": str(ann.api.log.position + 1)}
    assert_problem(ann.get("/items", token=None, headers=future), 401, "unauthenticated")


def test_a_request_waits_for_its_required_position(ann: Caller) -> None:
    future = {"min-event-position": str(ann.api.log.position + 1)}
    how = {"token": ann.token}

    read, written = ann.api.request_all(
        [
            ("GET", "/items", how | {"headers": future}),
            ("POST", "/items", how | {"json": {"title": "awaited"}}),
        ]
    )

    assert [item["title"] for item in read.json()] == ["awaited"]
    assert written.status_code == 200
