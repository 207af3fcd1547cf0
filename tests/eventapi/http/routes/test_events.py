"""Streams of events: content, loss of access, limits, and tokens in the query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.http.routes.events import MAX_STREAMS
from eventapi.resources import access
from tests.eventapi.http.client import Api, Caller, assert_problem
from tests.eventapi.http.logs import SlowLog
from tests.eventapi.http.streams import (
    NDJSON,
    SSE,
    STREAM_OPENED,
    STREAM_SECONDS,
    StreamReader,
    ways_to_lose_access,
)

FIRST_EVENT = b"user.registered"


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(log=SlowLog()) as running:
        yield running


@pytest.fixture
def auditor(api: Api) -> Caller:
    caller = api.auditor()
    for _ in range(10):
        caller.create()
    return caller


@pytest.mark.parametrize("accept", [NDJSON, SSE])
@pytest.mark.parametrize("how", ["logged out", "role revoked", "erased"])
def test_a_stream_ends_when_the_client_loses_access(auditor: Caller, accept: str, how: str) -> None:
    """It ends at once, even among the events that existed when it began."""
    reader = StreamReader(auditor, "/audit/events", accept)

    reader.read((FIRST_EVENT, ways_to_lose_access(auditor)[how]))

    assert reader.status == 200
    assert reader.body.count(FIRST_EVENT) == 1 + (accept == SSE)
    assert b"item.created" not in reader.body
    # Only an incomplete answer shows a client of plain lines that some are missing.
    assert reader.is_complete == (accept == SSE)


def test_streams_that_begin_at_the_same_time_count_towards_the_limit(auditor: Caller) -> None:
    readers = [StreamReader(auditor, "/audit/events", SSE) for _ in range(MAX_STREAMS + 4)]
    logout = ways_to_lose_access(auditor)["logged out"]

    async def read_all() -> None:
        async with asyncio.timeout(STREAM_SECONDS):
            await asyncio.gather(*(one.read_async((FIRST_EVENT, logout)) for one in readers))

    auditor.api.run(read_all())

    statuses = [reader.status for reader in readers]
    assert sorted(statuses) == [200] * MAX_STREAMS + [503] * 4


@pytest.mark.parametrize("few", [0, 1000], ids=["from the table", "from the log"])
def test_a_user_receives_events_of_their_own_items_only(
    api: Api, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.http.routes.events._FEW", few)
    ann, bob = api.caller(), api.caller()
    kept, gone = ann.create("kept"), ann.create("gone")
    bob.create("another's")
    assert ann.delete(f"/items/{gone}").status_code == 204
    reader = StreamReader(ann, "/items/events", SSE, "after=0")

    async def write() -> None:
        await api.request_async("PATCH", f"/items/{kept}", ann.token, json={"title": "changed"})
        await api.request_async("POST", "/items", bob.token, json={"title": "another's"})

    reader.read((b"item.deleted", write), (b"changed", ways_to_lose_access(ann)["logged out"]))

    kinds = [line for line in reader.body.decode().splitlines() if line.startswith("event: ")]
    assert [kind.removeprefix("event: item.") for kind in kinds] == [
        *("created", "created", "deleted", "updated")
    ]
    assert "another's" not in reader.body.decode()


def test_an_event_is_delivered_without_listing_all_items_of_the_user(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = api.caller(), api.caller()
    listings = 0

    def ever_readable_numbers(*_: object) -> list[int]:
        nonlocal listings
        listings += 1
        return []

    async def write() -> None:
        await api.request_async("POST", "/items", bob.token, json={"title": "another's"})
        await api.request_async("POST", "/items", ann.token, json={"title": "mine"})

    monkeypatch.setattr(access, "ever_readable_numbers", ever_readable_numbers)
    reader = StreamReader(ann, "/items/events", SSE)

    reader.read((STREAM_OPENED, write), (b"mine", ways_to_lose_access(ann)["logged out"]))

    assert listings == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/auth/me"), ("GET", "/items"), ("POST", "/items"), ("GET", "/audit/state")],
)
def test_a_token_in_the_query_is_accepted_for_streams_only(
    auditor: Caller, method: str, path: str
) -> None:
    """Even if the client asks for another resource as a stream."""
    how: dict[str, Any] = {"params": {"access_token": auditor.token}, "headers": {"accept": SSE}}
    assert_problem(auditor.api.request(method, path, **how), 401, "unauthenticated")
    assert auditor.api.request("HEAD", "/items/events", **how).status_code == 200
    assert auditor.api.request("HEAD", "/api/v2/audit/events", **how).status_code == 200

    how["headers"] = {"accept": NDJSON}
    answer = auditor.api.request("HEAD", "/audit/events", **how)
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/items/events", "/audit/events"])
def test_a_stream_with_its_token_in_the_query_has_all_parameters(
    auditor: Caller, path: str
) -> None:
    how: dict[str, Any] = {"headers": {"accept": SSE}}
    query = {"access_token": auditor.token, "after": "0"}
    assert auditor.api.request("HEAD", path, params=query, **how).status_code == 200

    query |= {"after": "x", "unknown": "1"}
    problem = assert_problem(
        auditor.api.request("GET", path, params=query, **how), 422, "validation-failed"
    )
    found = {(fault["pointer"], fault["detail"]) for fault in problem["errors"]}
    assert found == {
        ("/after", "must be a whole number"),
        ("/unknown", "is not a parameter of this request"),
    }
