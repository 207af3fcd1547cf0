"""Libraries for HTTP and server-sent events work with links, events and errors."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator

import httpx
import pytest
import requests
from httpx_sse import connect_sse

from tests.clients.idioms import log_in, registration
from tests.clients.services import PASSWORD, Successor

ITEMS = 7


@pytest.fixture
def session(new: Successor) -> Iterator[requests.Session]:
    """A logged-in session of a user with items."""
    with log_in(new.url) as found:
        for number in range(ITEMS):
            found.post(f"{new.url}/items", json={"title": f"Item {number}"}).raise_for_status()
        yield found


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v2"], ids=["unversioned", "v1", "v2"])
def test_requests_follows_the_links_to_the_last_page(
    new: Successor, session: requests.Session, prefix: str
) -> None:
    answer = session.get(f"{new.url}{prefix}/items?limit=3")
    pages = [answer]

    while "next" in answer.links:
        answer = session.get(answer.links["next"]["url"])
        pages.append(answer)

    bodies = [page.json() for page in pages]
    items = [
        item for body in bodies for item in (body["items"] if isinstance(body, dict) else body)
    ]
    assert [item["title"] for item in items] == [f"Item {number}" for number in range(ITEMS)]
    assert len(pages) == 3


def test_requests_follows_next_in_the_body_to_the_last_page(
    new: Successor, session: requests.Session
) -> None:
    page = session.get(f"{new.url}/api/v2/items?limit=2").json()
    titles = [item["title"] for item in page["items"]]

    while page["next"] is not None:
        page = session.get(page["next"]).json()
        titles += [item["title"] for item in page["items"]]

    assert titles == [f"Item {number}" for number in range(ITEMS)]


def test_requests_reads_the_created_item_at_its_location(
    new: Successor, session: requests.Session
) -> None:
    made = session.post(f"{new.url}/api/v2/items", json={"title": "new"})

    read = session.get(made.headers["Location"])

    assert read.json() == made.json()


@pytest.mark.parametrize("prefix", ["", "/api/v2"], ids=["v1", "v2"])
def test_httpx_sse_reads_every_event_as_json(
    new: Successor, session: requests.Session, prefix: str
) -> None:
    headers = {"Authorization": str(session.headers["Authorization"])}
    url = f"{new.url}{prefix}/items/events?after=0"
    titles: list[str] = []

    # The documentation of the library parses the data of each event as JSON.
    with (
        httpx.Client(timeout=30) as client,
        connect_sse(client, "GET", url, headers=headers) as feed,
    ):
        for event in feed.iter_sse():
            titles.append(json.loads(event.data)["changes"]["title"])
            if len(titles) == ITEMS:
                break

    assert titles == [f"Item {number}" for number in range(ITEMS)]


class _Refreshing(httpx.Auth):
    """Refreshes the token once after a 401, as many clients do."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url = url
        self._tokens = tokens
        self.refreshed = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request, and repeat it with a new token after a 401."""
        request.headers["Authorization"] = f"Bearer {self._tokens['access_token']}"
        answer = yield request
        if answer.status_code == 401:
            self.refreshed += 1
            body = {"refresh_token": self._tokens["refresh_token"]}
            renewed = yield httpx.Request("POST", self._url, json=body)
            self._tokens = json.loads(renewed.read())
            request.headers["Authorization"] = f"Bearer {self._tokens['access_token']}"
            yield request


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/password", {"current_password": "wrong", "new_password": "another horse"}),
        ("DELETE", "/auth/me", {"password": "wrong"}),
    ],
)
def test_a_wrong_current_password_does_not_make_clients_refresh(
    new: Successor, method: str, path: str, body: dict[str, str]
) -> None:
    url = f"{new.url}/api/v2"
    user = registration()
    httpx.post(f"{url}/auth/register", json=user).raise_for_status()
    form = {"username": user["username"], "password": PASSWORD}
    auth = _Refreshing(f"{url}/auth/refresh", httpx.post(f"{url}/auth/login", data=form).json())
    with httpx.Client(auth=auth) as client:
        answer = client.request(method, f"{url}{path}", json=body)

        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/invalid-credentials")
        assert auth.refreshed == 0
        assert client.get(f"{url}/auth/me").status_code == 200
