"""Libraries for HTTP and for Server-Sent Events use what the server gives them as it is."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator

import httpx
import pytest
import requests
from httpx_sse import connect_sse

from tests.clients.idioms import logged_in, registration
from tests.clients.services import PASSWORD, Successor

ITEMS = 7


@pytest.fixture
def session(new: Successor) -> Iterator[requests.Session]:
    """A session with some items."""
    with logged_in(new.url) as found:
        for number in range(ITEMS):
            found.post(f"{new.url}/items", json={"title": f"Item {number}"}).raise_for_status()
        yield found


@pytest.mark.parametrize("prefix", ["", "/api/v1", "/api/v2"], ids=["unversioned", "v1", "v2"])
def test_requests_follows_links_to_the_end(
    new: Successor, session: requests.Session, prefix: str
) -> None:
    # Given the first page of the items,
    answer = session.get(f"{new.url}{prefix}/items?limit=3")
    pages = [answer]
    # when the links are followed,
    while "next" in answer.links:
        answer = session.get(answer.links["next"]["url"])
        pages.append(answer)
    # then every item was there once.
    bodies = [page.json() for page in pages]
    items = [
        item for body in bodies for item in (body["items"] if isinstance(body, dict) else body)
    ]
    assert [item["title"] for item in items] == [f"Item {number}" for number in range(ITEMS)]
    assert len(pages) == 3


def test_requests_follows_next_to_the_end(new: Successor, session: requests.Session) -> None:
    # Given the first page of version 2,
    page = session.get(f"{new.url}/api/v2/items?limit=2").json()
    titles = [item["title"] for item in page["items"]]
    # when `next` is followed,
    while page["next"] is not None:
        page = session.get(page["next"]).json()
        titles += [item["title"] for item in page["items"]]
    # then every item was there once.
    assert titles == [f"Item {number}" for number in range(ITEMS)]


def test_requests_reads_what_location_names(new: Successor, session: requests.Session) -> None:
    # Given an item that was made,
    made = session.post(f"{new.url}/api/v2/items", json={"title": "new"})
    # when its location is read,
    read = session.get(made.headers["Location"])
    # then it is the item.
    assert read.json() == made.json()


@pytest.mark.parametrize("prefix", ["", "/api/v2"], ids=["v1", "v2"])
def test_httpx_sse_reads_json_from_the_first_event(
    new: Successor, session: requests.Session, prefix: str
) -> None:
    # Given the feed of one's items,
    headers = {"Authorization": str(session.headers["Authorization"])}
    url = f"{new.url}{prefix}/items/events?after=0"
    titles: list[str] = []
    # when each event's data is parsed as JSON, as the library's documentation does,
    with (
        httpx.Client(timeout=30) as client,
        connect_sse(client, "GET", url, headers=headers) as feed,
    ):
        for event in feed.iter_sse():
            titles.append(json.loads(event.data)["changes"]["title"])
            if len(titles) == ITEMS:
                break
    # then all of them can be.
    assert titles == [f"Item {number}" for number in range(ITEMS)]


class _Refreshing(httpx.Auth):
    """What half of all clients have: refresh once after a 401, and log out when that fails."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url = url
        self._tokens = tokens
        self.refreshed = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request, and once more with a new token after a 401."""
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
def test_a_wrong_current_password_is_no_reason_to_refresh(
    new: Successor, method: str, path: str, body: dict[str, str]
) -> None:
    # Given a client that refreshes its token after every 401,
    url = f"{new.url}/api/v2"
    user = registration()
    httpx.post(f"{url}/auth/register", json=user).raise_for_status()
    form = {"username": user["username"], "password": PASSWORD}
    auth = _Refreshing(f"{url}/auth/refresh", httpx.post(f"{url}/auth/login", data=form).json())
    with httpx.Client(auth=auth) as client:
        # when the current password is mistyped,
        answer = client.request(method, f"{url}{path}", json=body)
        # then the client is told so, and has refreshed nothing.
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/invalid-credentials")
        assert auth.refreshed == 0
        assert client.get(f"{url}/auth/me").status_code == 200
