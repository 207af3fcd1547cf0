"""Histories: in pages, or all of them in pieces; and what many of them at once cost others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.commands.items import UpdateItem
from eventapi.queries.history import RECORDS_PER_READ, History
from tests.eventapi.http.client import Api, Caller, assert_problem, elsewhere
from tests.eventapi.http.routes.test_events import Taker
from tests.eventapi.queries.test_history import CountingLog

CHANGES = 3 * RECORDS_PER_READ + 5


class Long:
    """An item that was changed often."""

    def __init__(self, caller: Caller, changes: int = CHANGES) -> None:
        self.caller = caller
        self.number = caller.create("a title", "a description")
        owner = int(caller.get(f"/items/{self.number}/history").json()[0]["actor"][6:])
        elsewhere(
            caller.api,
            *(UpdateItem(owner, self.number, title=f"title {number}") for number in range(changes)),
        )
        self.path = f"/items/{self.number}/history"


@pytest.fixture(scope="module")
def counting() -> Iterator[tuple[Api, CountingLog]]:
    log = CountingLog()
    with Api(log=log) as api:
        yield api, log


@pytest.fixture(scope="module")
def long(counting: tuple[Api, CountingLog]) -> Long:
    return Long(counting[0].caller())


def test_a_history_without_a_limit_is_all_of_it(long: Long, prefix: str) -> None:
    answer = long.caller.under(prefix).get(long.path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers
    history = answer.json()
    assert len(history) == CHANGES + 1
    positions = [one["position"] for one in history]
    assert positions == sorted(set(positions))
    assert [one["changes"].get("title") for one in history][1:] == [
        f"title {number}" for number in range(CHANGES)
    ]


@pytest.mark.parametrize("limit", [1, 7, RECORDS_PER_READ, CHANGES, CHANGES + 1, 1000])
def test_pages_of_a_history_come_to_all_of_it(long: Long, prefix: str, limit: int) -> None:
    me = long.caller.under(prefix)
    found: list[Any] = []
    where: str | None = f"{prefix}{long.path}?limit={limit}"
    while where is not None:
        answer = me.api.request("GET", where, token=me.token)
        assert 0 < len(answer.json()) <= limit
        found += answer.json()
        where = answer.links.get("next", {}).get("url")
    assert found == me.get(long.path).json()


def test_a_history_begins_behind_a_position(long: Long) -> None:
    history = long.caller.get(long.path).json()
    middle = history[20]["position"]
    assert long.caller.get(f"{long.path}?after={middle}").json() == history[21:]
    assert long.caller.get(f"{long.path}?after={history[-1]['position']}").json() == []
    assert long.caller.get(f"{long.path}?after={2**62}&limit=1").json() == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", "limit=1.0"])
def test_a_bad_page_of_a_history_is_refused(long: Long, query: str) -> None:
    problem = assert_problem(long.caller.get(f"{long.path}?{query}"), 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


@pytest.mark.parametrize("query", ["", "?limit=20"])
def test_a_head_of_a_history_reads_nothing(
    counting: tuple[Api, CountingLog], long: Long, query: str
) -> None:
    long.caller.get("/items")
    before = counting[1].lines_read
    answer = long.caller.request("HEAD", long.path + query)
    assert (answer.status_code, answer.content) == (200, b"")
    assert ("link" in answer.headers) == bool(query)
    assert counting[1].lines_read == before


def test_a_past_state_of_an_item_with_many_whole_versions_reads_a_few_lines(
    counting: tuple[Api, CountingLog],
) -> None:
    api, log = counting
    ann = api.caller()
    number = ann.create()
    owner = int(ann.get(f"/items/{number}/history").json()[0]["actor"][6:])
    texts = (f"version {at}" for at in range(400))
    elsewhere(api, *(UpdateItem(owner, number, title=one, description=one) for one in texts))
    last = api.log.position
    ann.get("/items")
    before = log.lines_read
    for path in (f"/items/{number}?as_of={last - 5}", f"/items?as_of={last - 5}"):
        found = ann.get(path).json()
        item = found[0] if isinstance(found, list) else found
        assert item["description"] == "version 394"
    assert log.lines_read - before <= 8


def test_a_history_ends_with_the_rights_of_the_client() -> None:
    """In its middle, and so that the client notices that it is not whole."""
    with Api() as api:
        long = Long(api.caller(), 40 * RECORDS_PER_READ)
        taker = Taker(long.caller, long.path, "application/json")
        done = asyncio.Event()

        async def logout() -> None:
            if not done.is_set():
                done.set()
                await api.ask("POST", "/auth/logout", long.caller.token)

        api.run(asyncio.wait_for(taker.take((b"title 1", logout)), 20))
        assert (taker.status, taker.is_whole) == (200, False)
        with pytest.raises(json.JSONDecodeError):
            json.loads(taker.body)


def test_many_histories_of_one_user_are_answered_or_refused(long: Long) -> None:
    """Refused with 503 before they begin; never cut off, and never with a 500."""
    how: dict[str, Any] = {"token": long.caller.token}
    asked = [("GET", long.path, how), ("GET", f"/items/{long.number}?as_of=1", how)] * 40
    answers = long.caller.api.together(asked)
    for answer in answers:
        if answer.status_code == 503:
            assert assert_problem(answer, 503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
        elif answer.status_code == 200:
            assert len(answer.json()) == CHANGES + 1
        else:
            assert_problem(answer, 404, "not-found")
    assert {200, 404, 503} == {answer.status_code for answer in answers}
    assert long.caller.get(long.path).status_code == 200


@pytest.mark.parametrize("path", ["/items/{number}/history", "/items/{number}?as_of=9", "/items"])
def test_running_out_of_memory_is_an_overload(
    long: Long, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_memory(*_: object) -> None:
        raise MemoryError

    def none_either(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(History, "records", no_memory)
    monkeypatch.setattr(History, "items_at", no_memory)
    monkeypatch.setattr("eventapi.http.routes.listing._listed", none_either)
    answer = long.caller.get(path.format(number=long.number))
    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"]
