"""Requests of every method to every path, and from pages of other origins."""

from __future__ import annotations

from typing import Final

from tests.clients.cases.case import JSON, Case, by, case_of
from tests.clients.services import OLD_ORIGINS

_PATHS: Final = """
GET /nothing
POST /nothing
GET /items/1/nothing
GET /auth
GET /
GET /Items
GET /auth/login
GET /auth/register
POST /auth/me
PUT /items
DELETE /items
PATCH /items
POST /items/3
PATCH /items/3
HEAD /items
HEAD /items/3
HEAD /auth/me
HEAD /docs
GET /openapi.json
GET /health
OPTIONS /items
OPTIONS /items/3
PATCH /auth/me
DELETE /auth/me
TRACE /items
BREW /items
GET /items/
POST /items/
GET /items/3/
GET /auth/me/
POST /auth/login/
POST /auth/register/
GET /items/?a=1
GET //items
GET /items//3
GET /nothing/
GET /%69tems
GET /docs
GET /docs/
GET /redoc
GET /docs/oauth2-redirect
GET /auth/sessions
GET /items/3/history
"""


def paths() -> list[Case]:
    """Requests without a body, most of them with a wrong method or path."""
    requests = [line.split() for line in _PATHS.split("\n")[1:-1]]
    return [
        *(case_of(f"{method} {path}", method, path, by("bob"), None) for method, path in requests),
        case_of("log out", "POST", "/auth/logout", by("eve"), None),
        case_of("read a long path", "GET", "/" + "a" * 20_000, by("bob"), None),
        case_of("read with a long header", "GET", "/items", by("bob", X="x" * 70_000), None),
    ]


def cross_origin() -> list[Case]:
    """Requests of pages of other origins, as a browser sends them."""
    page, other = OLD_ORIGINS[0], "https://elsewhere.example"

    def preflight(name: str, origin: str, method: str, headers: str) -> Case:
        asked = {"Origin": origin, "Access-Control-Request-Method": method}
        if headers:
            asked["Access-Control-Request-Headers"] = headers
        return case_of(f"preflight {name}", "OPTIONS", "/items", asked, None)

    wanted = "authorization,content-type,traceparent,x-requested-with,last-event-id"
    return [
        preflight("by a page", page, "POST", wanted),
        preflight("without headers", page, "GET", ""),
        preflight("of an odd method", page, "BREW", ""),
        preflight("by a page elsewhere", other, "POST", wanted),
        case_of(
            "preflight of a path that is not there",
            "OPTIONS",
            "/nothing",
            {"Origin": page, "Access-Control-Request-Method": "GET"},
            None,
        ),
        case_of("list by a page", "GET", "/items", by("bob", Origin=page), None),
        case_of(
            "list by a page with a cookie",
            "GET",
            "/items",
            by("bob", Origin=page, Cookie="a=b"),
            None,
        ),
        case_of("list by a page elsewhere", "GET", "/items", by("bob", Origin=other), None),
        case_of("an error by a page", "GET", "/items/999", by("bob", Origin=page), None),
        case_of("no token by a page", "GET", "/items", {"Origin": page}, None),
        case_of("a fault by a page", "POST", "/items", by("bob", Origin=page, **JSON), {}),
    ]
