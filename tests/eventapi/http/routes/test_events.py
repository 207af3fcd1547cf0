"""Streams while they are under way: who may not see any more gets no more, and how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from eventapi.commands.users import EraseUser, GrantRole, RevokeRole
from eventapi.http.routes.events import MAX_STREAMS
from events.log.memory import MemoryLog
from projections.tables.items import Item, Items, Tombstone
from tests.eventapi.http.client import (
    Api,
    Caller,
    assert_problem,
    elsewhere,
    written_elsewhere,
)

Doing = Callable[[], Awaitable[object]]
Step = tuple[bytes, Doing]
"""What is done once something has come."""

FIRST = b"user.registered"
BEGUN = b":\n\n"
"""The comment that opens a stream at once."""

LINES, LIVE = "application/x-ndjson", "text/event-stream"


class SlowLog(MemoryLog):
    """A log that is read line by line, like a long one that is taken slowly."""

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            for line in lines:
                yield [line]


class Taker:
    """Takes a stream part by part, as an ASGI server does, and stays until it ends."""

    def __init__(self, caller: Caller, path: str, accept: str, query: str = "") -> None:
        self.caller = caller
        self.body = b""
        self.status = 0
        self.is_whole = False
        headers = {"host": "test", "authorization": f"Bearer {caller.token}", "accept": accept}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "state": {},
        }

    async def take(self, *steps: Step) -> None:
        """Take it to its end; each step is done once something has come, one after the other."""
        gone = asyncio.Event()
        left = list(steps)

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)
            self.body += message.get("body", b"")
            self.is_whole = message.get("more_body") is False
            if left and left[0][0] in self.body:
                await left.pop(0)[1]()

        await self.caller.api.edge(self._scope, receive, send)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(log=SlowLog()) as running:
        yield running


@pytest.fixture
def auditor(api: Api) -> Caller:
    caller = api.caller("auditor")
    elsewhere(api, GrantRole(caller.name, "auditor", "operator/test"))
    for _ in range(10):
        caller.create()
    return caller


def ends(caller: Caller) -> dict[str, Doing]:
    api, name = caller.api, caller.name
    return {
        "logged out": lambda: api.ask("POST", "/auth/logout", caller.token),
        "no auditor any more": lambda: written_elsewhere(
            api, RevokeRole(name, "auditor", "operator/test")
        ),
        "erased": lambda: written_elsewhere(api, EraseUser(name, "operator/test")),
    }


@pytest.mark.parametrize("accept", [LINES, LIVE])
@pytest.mark.parametrize("how", ["logged out", "no auditor any more", "erased"])
def test_who_may_not_see_any_more_gets_no_more(auditor: Caller, accept: str, how: str) -> None:
    """Also in the middle of what was there when the stream began."""
    taker = Taker(auditor, "/audit/events", accept)
    auditor.api.run(asyncio.wait_for(taker.take((FIRST, ends(auditor)[how])), 10))
    assert taker.status == 200
    assert taker.body.count(FIRST) == 1 + (accept == LIVE)
    assert b"item.created" not in taker.body
    # Of lines it could not be told otherwise that there are more.
    assert taker.is_whole == (accept == LIVE)


def test_streams_that_begin_at_once_are_counted_too(auditor: Caller) -> None:
    api = auditor.api

    async def begun() -> list[int]:
        takers = [Taker(auditor, "/audit/events", LIVE) for _ in range(MAX_STREAMS + 4)]
        logout = ends(auditor)["logged out"]
        await asyncio.wait_for(
            asyncio.gather(*(taker.take((FIRST, logout)) for taker in takers)), 10
        )
        return [taker.status for taker in takers]

    statuses = api.run(begun())
    assert sorted(statuses) == [200] * MAX_STREAMS + [503] * 4


@pytest.mark.parametrize("few", [0, 1000], ids=["by their items", "by the lines"])
def test_who_follows_is_told_of_their_items_alone(
    api: Api, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.http.routes.events._FEW", few)
    ann, bob = api.caller(), api.caller()
    kept, gone = ann.create("kept"), ann.create("gone")
    bob.create("another's")
    assert ann.request("DELETE", f"/items/{gone}").status_code == 204
    taker = Taker(ann, "/items/events", LIVE, "after=0")

    async def then() -> None:
        await api.ask("PATCH", f"/items/{kept}", ann.token, json={"title": "changed"})
        await api.ask("POST", "/items", bob.token, json={"title": "another's"})

    steps = ((b"item.deleted", then), (b"changed", ends(ann)["logged out"]))
    api.run(asyncio.wait_for(taker.take(*steps), 10))
    kinds = [line for line in taker.body.decode().splitlines() if line.startswith("event: ")]
    assert [kind.removeprefix("event: item.") for kind in kinds] == [
        *("created", "created", "deleted", "updated")
    ]
    assert "another's" not in taker.body.decode()


def test_who_follows_does_not_pay_for_what_they_have_with_every_event(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = api.caller(), api.caller()
    looked_through = 0

    def ever(self: Items, owner: int) -> list[Item | Tombstone]:
        nonlocal looked_through
        looked_through += 1
        return []

    monkeypatch.setattr(Items, "all_of_owner", ever)
    taker = Taker(ann, "/items/events", LIVE)

    async def then() -> None:
        await api.ask("POST", "/items", bob.token, json={"title": "another's"})
        await api.ask("POST", "/items", ann.token, json={"title": "mine"})

    steps = ((BEGUN, then), (b"mine", ends(ann)["logged out"]))
    api.run(asyncio.wait_for(taker.take(*steps), 10))
    assert looked_through == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/auth/me"), ("GET", "/items"), ("POST", "/items"), ("GET", "/audit/state")],
)
def test_a_token_in_the_query_is_for_streams_alone(auditor: Caller, method: str, path: str) -> None:
    """Whatever else is asked for as one."""
    how: dict[str, Any] = {"params": {"access_token": auditor.token}, "headers": {"accept": LIVE}}
    assert_problem(auditor.api.request(method, path, **how), 401, "unauthenticated")
    assert auditor.api.request("HEAD", "/items/events", **how).status_code == 200
    assert auditor.api.request("HEAD", "/api/v2/audit/events", **how).status_code == 200
    how["headers"] = {"accept": LINES}
    answer = auditor.api.request("HEAD", "/audit/events", **how)
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/items/events", "/audit/events"])
def test_a_stream_with_its_token_in_the_query_takes_all_parameters(
    auditor: Caller, path: str
) -> None:
    how: dict[str, Any] = {"headers": {"accept": LIVE}}
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
