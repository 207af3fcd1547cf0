"""A server under a root path answers as one at the root, and its URLs have the root path.

`uvicorn --root-path` puts the root path before the path that a proxy sends, and a mount leaves it
there (ASGI, HTTP connection scope), so for the application both are the same. The roots include
beginnings and parts of the server's own paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventapi.http.urls import separate_root_path
from tests.eventapi.http.client import PASSWORD, Api, http_scope, quiet_settings, registration

ROOTS = (
    "",
    "/api",
    "/a",
    "/api/v1",
    "/api/v2",
    "/i",
    "/items",
    "/auth",
    "/below",
    "/api/",
    "api",
)
DEPRECATED = "2026-01-01T00:00:00Z"


class Mounted:
    """An app under a root path, with a logged-in user."""

    def __init__(self, api: Api, root: str) -> None:
        self._api, self._root = api, root
        self.base = f"http://test/{root.strip('/')}".rstrip("/")
        self._caller = api.caller()
        self.name = self._caller.name

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        """The answer to a request, as a proxy sends it that strips the root path."""

        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            path, raw_path = self._root + scope["path"], self._root.encode() + scope["raw_path"]
            scope = scope | {"root_path": self._root, "path": path, "raw_path": raw_path}
            await self._api.edge(scope, receive, send)

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(mounted)
            token = {"authorization": f"Bearer {self._caller.token}"}
            headers = token | how.pop("headers", {})
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, headers=headers, **how)

        return self._api.run(send())

    def register(self, name: str, prefix: str) -> httpx.Response:
        return self.request("POST", f"{prefix}/auth/register", json=registration(name))

    def create(self, prefix: str = "/api/v2") -> httpx.Response:
        return self.request("POST", f"{prefix}/items", json={"title": "made"})


@pytest.fixture(scope="module")
def shared() -> Iterator[Api]:
    with Api(quiet_settings(v1_deprecation=DEPRECATED)) as api:
        yield api


@pytest.fixture(scope="module", params=ROOTS)
def server(shared: Api, request: pytest.FixtureRequest) -> Mounted:
    return Mounted(shared, request.param)


def test_the_location_of_a_creation_is_in_the_version_of_the_request(server: Mounted) -> None:
    made = server.create()

    assert made.headers["location"] == f"{server.base}/api/v2/items/{made.json()['id']}"


def test_the_location_of_a_registration_is_in_the_version_of_the_request(server: Mounted) -> None:
    made = server.register(f"{server.name}-new", "/api/v2")

    assert (made.status_code, made.headers["location"]) == (201, f"{server.base}/api/v2/auth/me")


def test_the_location_in_a_batch_is_in_the_version_of_the_request(server: Mounted) -> None:
    write = {"method": "POST", "path": "/items", "body": {"title": "made"}}

    (made,) = server.request("POST", "/api/v2/batch", json={"requests": [write]}).json()[
        "responses"
    ]

    assert made["location"] == f"{server.base}/api/v2/items/{made['body']['id']}"


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v2"])
def test_the_next_page_is_in_the_version_of_the_request(server: Mounted, prefix: str) -> None:
    server.create(prefix), server.create(prefix)

    page = server.request("GET", f"{prefix}/items?limit=1")

    assert page.links["next"]["url"].startswith(f"{server.base}{prefix}/items?")


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_errors_of_version_1_have_its_form(server: Mounted, prefix: str) -> None:
    missing = server.request("GET", f"{prefix}/items/999999")
    bad = server.request("POST", f"{prefix}/items", json={"title": ""})
    name = server.register(server.name, prefix)

    assert (missing.status_code, missing.json()["detail"]) == (404, "Item not found")
    assert bad.json()["detail"][0]["loc"] == ["body", "title"]
    assert name.status_code == 400
    for answer in (missing, bad, name):
        assert answer.headers["content-type"] == "application/json"


def test_errors_of_version_2_are_problem_documents(server: Mounted) -> None:
    missing = server.request("GET", "/api/v2/items/999999")
    bad = server.request("POST", "/api/v2/items", json={"title": ""})

    assert missing.json()["type"] == "/problems/not-found"
    assert bad.json()["errors"][0]["pointer"] == "/title"
    for answer in (missing, bad):
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v2"])
def test_errors_of_token_endpoints_have_the_members_of_oauth(server: Mounted, prefix: str) -> None:
    unknown = {"username": "unknown", "password": PASSWORD}

    login = server.request("POST", f"{prefix}/auth/login", json=unknown)
    refresh = server.request("POST", f"{prefix}/auth/refresh", json={"refresh_token": "unknown"})

    assert login.json()["error"] == refresh.json()["error"] == "invalid_grant"


def test_an_error_of_an_account_repeats_no_unknown_member(server: Mounted) -> None:
    body = {"username": "x", "email": "x@example.org", "password": PASSWORD, "pin": "0000"}

    answer = server.request("POST", "/auth/register", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["input"] == "x"
    assert "0000" not in answer.text
    del body["username"]
    assert "0000" not in server.request("POST", "/auth/register", json=body).text


@pytest.mark.parametrize(
    ("path", "is_announced"), [("/items", True), ("/api/v1/items", True), ("/api/v2/items", False)]
)
def test_the_deprecation_of_version_1_is_announced(
    server: Mounted, path: str, is_announced: bool
) -> None:
    assert ("deprecation" in server.request("GET", path).headers) == is_announced


def test_a_trailing_slash_is_redirected(server: Mounted) -> None:
    slash = server.request("GET", "/items/?limit=1")

    assert slash.headers["location"] == f"{server.base}/items?limit=1"


def test_the_root_refers_to_the_documentation(server: Mounted) -> None:
    assert server.request("GET", "/").json()["docs"] == f"{server.base}/docs"


def test_the_openapi_document_has_the_server(server: Mounted) -> None:
    document = server.request("GET", "/openapi.json").json()

    assert document["servers"][0]["url"].rstrip("/") == server.base.removeprefix("http://test")


@pytest.mark.parametrize("root", ROOTS)
def test_logins_are_limited_and_probes_are_not(root: str) -> None:
    settings = quiet_settings(rate_limit="1000/minute", rate_limit_login="1000/minute")
    with Api(settings) as api:
        server = Mounted(api, root)
        health = server.request("GET", "/api/v2/health/live")
        login = server.request("POST", "/api/v2/auth/login", json={})

    assert "ratelimit" not in health.headers
    assert "login" in login.headers["ratelimit-policy"]


def test_an_idempotency_key_repeats_the_answer(server: Mounted) -> None:
    headers = {"idempotency-key": "once"}

    first, again = (
        server.request("POST", "/api/v2/items", json={"title": "once"}, headers=headers)
        for _ in range(2)
    )

    assert (first.status_code, first.json()) == (201, again.json())
    assert first.headers["location"] == again.headers["location"]


@pytest.mark.parametrize("path", ["/nowhere", "/api/v3/items", "/itemss", "/v2/items"])
def test_an_unknown_path_is_404(server: Mounted, path: str) -> None:
    assert server.request("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("root", "path", "place"),
    [
        ("", "/items", "/items"),
        ("/", "//items", "/items"),
        ("/", "/items", "/items"),
        ("/api", "/api", "/"),
        ("/api", "/api/", "/"),
        ("/api", "/api/api/v2/items", "/api/v2/items"),
        ("/api/", "/api//items", "/items"),
        ("/api/", "/api/items", "/items"),
        ("api", "api/items", "/items"),
        # Not below the root path: some servers do not put it before the path.
        ("/a", "/api/v2/items", "/api/v2/items"),
        ("/i", "/items", "/items"),
        ("/below", "/x/below/items", "/x/below/items"),
        ("/below", "", ""),
    ],
)
def test_the_root_path_is_separated_once_and_by_segments(root: str, path: str, place: str) -> None:
    scope = http_scope(path, root_path=root)

    for _ in range(2):
        separate_root_path(scope)
        assert (scope["path"], scope["root_path"]) == (place, "")
