"""The printed address opens: a browser gets to the documentation, a program learns where it is."""

from __future__ import annotations

import httpx
import pytest

from tests.eventapi.http.client import Api, quiet_settings

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_is_redirected_to_the_documentation(method: str) -> None:
    with Api() as api:
        answer = api.request(method, "/", headers={"accept": BROWSER, "host": "shop.example"})
        assert answer.status_code == 307
        assert answer.headers["location"] == "http://shop.example/docs"
        assert answer.headers["vary"] == "Accept"
        assert api.request("GET", "/docs").status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json", None])
def test_another_client_is_told_where_it_is(accept: str | None) -> None:
    with Api() as api:
        headers = {"host": "shop.example"} | ({} if accept is None else {"accept": accept})
        answer = api.request("GET", "/", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "docs": "http://shop.example/docs",
            "openapi": "http://shop.example/openapi.json",
        }


@pytest.mark.parametrize("path", ["/?utm_source=mail", "//"])
def test_spellings_of_the_root(path: str) -> None:
    with Api() as api:
        status = api.request("GET", path).status_code
        assert status == (404 if path == "//" else 200)


def test_behind_a_prefix_it_leads_to_the_prefix() -> None:
    with Api(quiet_settings(public_url="https://shop.example/api")) as api:
        answer = api.request("GET", "/", headers={"accept": BROWSER})
        assert answer.headers["location"] == "https://shop.example/api/docs"


def test_other_methods_are_refused() -> None:
    with Api() as api:
        answer = api.request("POST", "/", json={})
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/api/", "/api"])
def test_under_a_root_path_it_leads_there(path: str) -> None:
    """As `uvicorn --root-path /api` serves it."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(api.edge, root_path="/api")
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(f"http://shop.example{path}", headers={"accept": BROWSER})

    with Api() as api:
        answer = api.run(ask())
        assert answer.status_code == 307
        assert answer.headers["location"] == "http://shop.example/api/docs"
