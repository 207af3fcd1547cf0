"""URLs in answers are absolute, and work for the client."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.eventapi.http.client import Api, Caller, items_of, quiet_settings

PROXY = "10.0.0.1"


def next_of(answer: httpx.Response) -> str:
    link: str = answer.links["next"]["url"]
    return link


def test_the_links_lead_through_all_pages(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    numbers = [me.create() for _ in range(5)]

    pages = list(me.pages("/items?limit=2"))

    assert [item["id"] for page in pages for item in items_of(page)] == numbers
    for page in pages[:-1]:
        assert next_of(page).startswith(f"http://test{prefix}/items?")


def test_the_location_is_the_url_of_the_created_item(ann: Caller) -> None:
    me = ann.under("/api/v2")
    answer = me.post("/items", json={"title": "made"})

    assert answer.headers["location"] == f"http://test/api/v2/items/{answer.json()['id']}"


def test_urls_have_the_host_of_the_request(ann: Caller) -> None:
    ann.create(), ann.create()
    answer = ann.get("/items?limit=1", headers={"host": "api.example:8443"})

    assert next_of(answer).startswith("http://api.example:8443/items?")


@pytest.mark.parametrize("public", ["https://api.example/below", "https://api.example/below/"])
def test_the_public_url_takes_precedence_over_the_host(public: str) -> None:
    with Api(quiet_settings(public_url=public)) as api:
        me = api.caller().under("/api/v2")
        me.create(), me.create()
        answer = me.get("/items?limit=1", headers={"host": "evil.example"})
        assert next_of(answer).startswith("https://api.example/below/api/v2/items?")
        assert answer.json()["next"] == next_of(answer)

        slash = api.request("GET", "/items/", token=me.token)
        assert slash.headers["location"] == "https://api.example/below/items"


def get_from(api: Api, client: str, headers: dict[str, str]) -> httpx.Response:
    """The answer to a request from a client address."""
    transport = httpx.ASGITransport(api.edge, client=(client, 1))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://inner") as http:
            return await http.get("/items?limit=1", headers=headers)

    return api.run(get())


@pytest.mark.parametrize(
    ("client", "headers", "start"),
    [
        (PROXY, {"x-forwarded-host": "api.example"}, "http://api.example/items?"),
        (PROXY, {"x-forwarded-host": "evil, api.example"}, "http://api.example/items?"),
        (PROXY, {"x-forwarded-host": " "}, "http://inner/items?"),
        (PROXY, {"x-forwarded-proto": "https"}, "https://inner/items?"),
        ("10.0.0.2", {"x-forwarded-host": "evil.example"}, "http://inner/items?"),
        ("10.0.0.2", {"x-forwarded-proto": "https"}, "http://inner/items?"),
    ],
)
def test_only_a_trusted_proxy_may_report_another_host(
    client: str, headers: dict[str, str], start: str
) -> None:
    with Api(quiet_settings(trusted_proxies=(PROXY,))) as api:
        me = api.caller()

        me.create(), me.create()
        token = {"authorization": f"Bearer {me.token}"}

        assert next_of(get_from(api, client, headers | token)).startswith(start)


def test_an_invalid_host_from_a_proxy_is_refused() -> None:
    with Api(quiet_settings(trusted_proxies=(PROXY,))) as api:
        assert get_from(api, PROXY, {"x-forwarded-host": "a/b"}).status_code == 400


def test_urls_of_a_server_below_a_prefix_have_the_prefix(new_api: Api) -> None:
    me = new_api.caller()
    me.create(), me.create()

    async def below(scope: Any, receive: Any, send: Any) -> None:
        scope = scope | {"root_path": "/below", "path": f"/below{scope['path']}"}
        await new_api.edge(scope, receive, send)

    async def get_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(below)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            token = {"authorization": f"Bearer {me.token}"}
            paths = ("/api/v1/items?limit=1", "/items/", "/items/999999", "/api/v2/items?limit=1")
            return [await client.get(path, headers=token) for path in paths]

    page, slash, missing, second = new_api.run(get_all())

    assert next_of(page).startswith("http://test/below/api/v1/items?")
    assert slash.headers["location"] == "http://test/below/items"
    assert (missing.status_code, missing.json()["detail"]) == (404, "Item not found")
    assert second.json()["next"].startswith("http://test/below/api/v2/items?")
