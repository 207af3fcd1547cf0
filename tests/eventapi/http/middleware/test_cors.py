"""Cross-origin requests: refused by default, allowed for the listed origins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.eventapi.http.client import Api, Caller, quiet_settings

LISTED = "https://app.example"
OTHERS = [
    "https://app.example.evil",
    "https://evil.example",
    "http://app.example",
    "https://app.example:8443",
    "https://sub.app.example",
    "null",
    "",
    "*",
]


@pytest.fixture(scope="module")
def open_api() -> Iterator[Api]:
    """An app that allows requests from pages of some origins."""
    origins = (LISTED, "https://second.example/", "null")
    with Api(quiet_settings(cors_origins=origins)) as api:
        yield api


@pytest.fixture
def page(open_api: Api) -> Caller:
    return open_api.caller()


def cors_headers(answer: httpx.Response) -> list[str]:
    """The names of the CORS headers of an answer."""
    return [name for name in answer.headers if name.startswith("access-control-")]


REQUESTED = "authorization,if-match,last-event-id,traceparent,x-requested-with,x-my-own"


def preflight(
    api: Api, origin: str, path: str = "/items", requested: str | None = REQUESTED
) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "PATCH"}
    if requested is not None:
        headers["access-control-request-headers"] = requested
    return api.request("OPTIONS", path, headers=headers)


def test_no_other_origin_is_allowed_by_default(ann: Caller) -> None:
    for answer in (
        ann.get("/items", headers={"origin": LISTED}),
        preflight(ann.api, LISTED),
        ann.get("/nowhere", headers={"origin": LISTED}),
    ):
        assert cors_headers(answer) == []
        assert "vary" not in answer.headers


@pytest.mark.parametrize("origin", [LISTED, "https://second.example"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/items", 200),
        ("POST", "/api/v2/items", 415),
        ("GET", "/items/0", 404),
        ("GET", "/nowhere", 404),
        ("GET", "//", 404),
        ("PUT", "/items", 405),
        ("OPTIONS", "/items", 204),
    ],
)
def test_a_listed_origin_may_read_every_answer(
    page: Caller, origin: str, method: str, path: str, status: int
) -> None:
    answer = page.request(method, path, headers={"origin": origin})
    assert answer.status_code == status
    assert answer.headers.get_list("access-control-allow-origin") == [origin]
    assert answer.headers["vary"] == "Origin"

    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Event-Position", "Link", "Location", "X-Request-ID"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers


def headers_in(document: Any) -> Iterator[str]:
    """The names of all headers of responses in a part of an OpenAPI document."""
    if isinstance(document, dict) and isinstance(document.get("headers"), dict):
        yield from document["headers"]
    if isinstance(document, dict | list):
        for part in document.values() if isinstance(document, dict) else document:
            yield from headers_in(part)


def test_a_listed_origin_may_read_every_header_of_the_document(page: Caller) -> None:
    answer = page.get("/openapi.json", headers={"origin": LISTED})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert set(headers_in(answer.json())) <= set(exposed)


def test_a_listed_origin_may_read_refusals_of_the_edge(open_api: Api) -> None:
    answer = open_api.request("GET", "/", headers={"origin": LISTED, "x-big": "x" * 40_000})

    assert answer.status_code == 431
    assert answer.headers["access-control-allow-origin"] == LISTED


@pytest.mark.parametrize("origin", OTHERS)
def test_an_unlisted_origin_gets_no_cors_headers(page: Caller, origin: str) -> None:
    for answer in (
        page.get("/items", headers={"origin": origin}),
        preflight(page.api, origin),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_an_answer_without_an_origin_varies_by_origin_too(page: Caller) -> None:
    assert page.get("/items").headers["vary"] == "Origin"


@pytest.mark.parametrize("path", ["/items", "/api/v2/items/1", "/auth/login", "/nowhere"])
def test_a_preflight_of_a_listed_origin_lists_the_allowed_methods_and_headers(
    open_api: Api, path: str
) -> None:
    answer = preflight(open_api, LISTED, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == LISTED

    methods = set(answer.headers["access-control-allow-methods"].split(", "))
    assert methods == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    assert answer.headers["access-control-allow-headers"] == REQUESTED
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("requested", [None, "a;b", "x" * 5_000, "a:b"])
@pytest.mark.parametrize("origin", [LISTED, "https://evil.example"])
def test_a_preflight_with_malformed_header_names_gets_the_default_list(
    open_api: Api, origin: str, requested: str | None
) -> None:
    answer = preflight(open_api, origin, requested=requested)
    names = set(answer.headers["access-control-allow-headers"].lower().split(", "))

    assert names == {
        *(
            "authorization",
            "change-reason",
            "content-type",
            "if-match",
            "if-none-match",
            "last-event-id",
        ),
        *("idempotency-key", "min-event-position", "x-request-id"),
    }


def test_an_unlisted_origin_may_not_send_the_headers_it_requests(open_api: Api) -> None:
    answer = preflight(open_api, "https://evil.example")
    assert "x-my-own" not in answer.headers["access-control-allow-headers"]


def test_a_setting_allows_credentials_for_listed_origins_only() -> None:
    settings = quiet_settings(cors_origins=(LISTED,), cors_credentials="on")
    with Api(settings) as api:
        page = api.caller()
        for answer in (preflight(api, LISTED), page.get("/items", headers={"origin": LISTED})):
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["access-control-allow-origin"] == LISTED
        for origin in OTHERS:
            for answer in (preflight(api, origin), page.get("/items", headers={"origin": origin})):
                assert "access-control-allow-credentials" not in answer.headers
                assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/items/", "/auth/login/", "/api/v2/items/", "/auth/sessions/"])
def test_a_preflight_is_not_redirected_or_refused_for_a_trailing_slash(
    open_api: Api, path: str
) -> None:
    """Browsers accept no other answer to a preflight than success.

    The request itself is redirected, or a 404.
    """
    assert preflight(open_api, LISTED, path).status_code == 204
    answer = open_api.request("GET", path, headers={"Origin": LISTED})
    assert answer.status_code in {307, 404}
    assert answer.headers["access-control-allow-origin"] == LISTED


def test_a_star_allows_every_origin() -> None:
    with Api(quiet_settings(cors_origins=("*",))) as api:
        answer = api.request("GET", "/health/live", headers={"origin": "https://any.example"})

        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert "vary" not in answer.headers
