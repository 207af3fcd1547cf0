"""The root redirects browsers to the console; other clients get the URLs of this server."""

from __future__ import annotations

import httpx
import pytest

from tests.eventapi.http.client import Api, quiet_settings

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_is_redirected_to_the_console(new_api: Api, method: str) -> None:
    answer = new_api.request(method, "/", headers={"accept": BROWSER, "host": "shop.example"})

    assert answer.status_code == 307
    assert answer.headers["location"] == "http://shop.example/console"
    assert answer.headers["vary"] == "Accept"
    assert new_api.request("GET", "/console").status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "TEXT/HTML", "Text/Html;charset=utf-8", "text/html;q=0.9,*/*;q=0.8"),
        *("application/json;q=0.5, text/html", "text/html, application/json", "text/html;q=0.001"),
        *("application/json;q=0, text/html;q=0.1", "*/*;q=0.1 , text/html;q=0.1"),
    ],
)
def test_a_client_that_prefers_html_is_redirected(new_api: Api, accept: str) -> None:
    answer = new_api.request("GET", "/", headers={"accept": accept})

    assert (answer.status_code, answer.headers["vary"]) == (307, "Accept")


@pytest.mark.parametrize(
    "accept",
    [
        *("*/*", "application/json", None, "", "text/*", "text/html-but-not-quite"),
        *("text/html;q=0", "text/html;q=0, application/json", "text/html;q=0.000, */*"),
        *(
            "application/json, text/html;q=0.9",
            "text/html;q=0.5, */*",
            "application/*, text/html;q=0.1",
        ),
    ],
)
def test_other_clients_get_the_urls_of_the_documentation(new_api: Api, accept: str | None) -> None:
    headers = {"host": "shop.example"} | ({} if accept is None else {"accept": accept})

    answer = new_api.request("GET", "/", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "docs": "http://shop.example/docs",
        "openapi": "http://shop.example/openapi.json",
        "console": "http://shop.example/console",
    }


@pytest.mark.parametrize("accept", [BROWSER, "application/json"])
def test_without_a_console_every_client_gets_the_urls_of_the_documentation(accept: str) -> None:
    with Api(quiet_settings(console="off")) as api:
        headers = {"host": "shop.example", "accept": accept}
        answer = api.request("GET", "/", headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {
        "docs": "http://shop.example/docs",
        "openapi": "http://shop.example/openapi.json",
    }


@pytest.mark.parametrize(("path", "status"), [("/?utm_source=mail", 200), ("//", 404)])
def test_the_root_ignores_a_query_and_is_no_double_slash(
    new_api: Api, path: str, status: int
) -> None:
    assert new_api.request("GET", path).status_code == status


def test_the_redirect_has_the_prefix_of_the_public_url() -> None:
    with Api(quiet_settings(public_url="https://shop.example/api")) as api:
        answer = api.request("GET", "/", headers={"accept": BROWSER})
        assert answer.headers["location"] == "https://shop.example/api/console"


def test_the_root_refuses_other_methods(new_api: Api) -> None:
    answer = new_api.request("POST", "/", json={})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/api/", "/api"])
def test_the_redirect_has_the_root_path(new_api: Api, path: str) -> None:
    """`uvicorn --root-path /api` serves it so."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(new_api.edge, root_path="/api")
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(f"http://shop.example{path}", headers={"accept": BROWSER})

    answer = new_api.run(get())

    assert answer.status_code == 307
    assert answer.headers["location"] == "http://shop.example/api/console"
