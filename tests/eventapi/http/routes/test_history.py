"""Histories: in pages or streamed whole, and many of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.testing.items import update_item
from tests.eventapi.http.client import Api, Caller, assert_problem
from tests.eventapi.http.streams import StreamReader, ways_to_lose_access
from tests.eventapi.queries.test_history import CountingLog

CHANGES = 3 * RECORDS_PER_READ + 5


class LongHistory:
    """An item that was changed often."""

    def __init__(self, caller: Caller, changes: int = CHANGES) -> None:
        self.caller = caller
        self.number = caller.create("a title", "a description")
        owner = caller.owner_id(self.number)
        caller.api.execute(
            *(
                update_item(owner, self.number, title=f"title {number}")
                for number in range(changes)
            ),
        )
        self.path = f"/items/{self.number}/history"


@pytest.fixture(scope="module")
def counting() -> Iterator[tuple[Api, CountingLog]]:
    log = CountingLog()
    with Api(log=log) as api:
        yield api, log


@pytest.fixture(scope="module")
def long(counting: tuple[Api, CountingLog]) -> LongHistory:
    return LongHistory(counting[0].caller())


def test_a_history_without_a_limit_is_complete(long: LongHistory, prefix: str) -> None:
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
def test_the_pages_together_are_the_complete_history(
    long: LongHistory, prefix: str, limit: int
) -> None:
    me = long.caller.under(prefix)

    pages = [answer.json() for answer in me.pages(f"{long.path}?limit={limit}")]

    assert all(0 < len(page) <= limit for page in pages)
    assert [change for page in pages for change in page] == me.get(long.path).json()


def test_a_history_begins_after_a_given_position(long: LongHistory) -> None:
    history = long.caller.get(long.path).json()
    middle = history[20]["position"]

    assert long.caller.get(f"{long.path}?after={middle}").json() == history[21:]
    assert long.caller.get(f"{long.path}?after={history[-1]['position']}").json() == []
    assert long.caller.get(f"{long.path}?after={2**62}&limit=1").json() == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", "limit=1.0"])
def test_a_bad_page_of_a_history_is_refused(long: LongHistory, query: str) -> None:
    problem = assert_problem(long.caller.get(f"{long.path}?{query}"), 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


@pytest.mark.parametrize("query", ["", "?limit=20"])
def test_a_head_request_for_a_history_reads_no_line(
    counting: tuple[Api, CountingLog], long: LongHistory, query: str
) -> None:
    long.caller.get("/items")
    before = counting[1].lines_read

    answer = long.caller.head(long.path + query)

    assert (answer.status_code, answer.content) == (200, b"")
    assert ("link" in answer.headers) == bool(query)
    assert counting[1].lines_read == before


def test_a_past_version_of_a_long_history_is_found_in_a_few_lines(
    counting: tuple[Api, CountingLog],
) -> None:
    api, log = counting
    ann = api.caller()
    number = ann.create()
    owner = ann.owner_id(number)
    texts = (f"version {at}" for at in range(400))
    api.execute(*(update_item(owner, number, title=one, description=one) for one in texts))
    last = api.log.position
    ann.get("/items")
    before = log.lines_read

    for path in (f"/items/{number}?as_of={last - 5}", f"/items?as_of={last - 5}"):
        found = ann.get(path).json()
        item = found[0] if isinstance(found, list) else found
        assert item["description"] == "version 394"

    assert log.lines_read - before <= 8


def test_a_history_is_cut_off_when_the_client_loses_access(new_api: Api) -> None:
    """The cut is in the middle of the JSON, so that the client notices it."""
    long = LongHistory(new_api.caller(), 40 * RECORDS_PER_READ)
    reader = StreamReader(long.caller, long.path, "application/json")
    logout = ways_to_lose_access(long.caller)["logged out"]

    reader.read((b"title 1", logout))

    assert (reader.status, reader.is_complete) == (200, False)
    with pytest.raises(json.JSONDecodeError):
        json.loads(reader.body)


def test_many_concurrent_histories_of_one_user_are_answered_or_refused(
    long: LongHistory,
) -> None:
    """A refusal is a 503 before the first byte. No history is cut off or a 500."""
    how: dict[str, Any] = {"token": long.caller.token}
    asked = [("GET", long.path, how), ("GET", f"/items/{long.number}?as_of=1", how)] * 40

    answers = long.caller.api.request_all(asked)

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


@pytest.mark.parametrize(
    "path", ["/items/{number}/history", "/items/{number}?as_of=9", "/items?limit=9"]
)
def test_a_memory_error_is_an_overload(
    long: LongHistory, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_async(*_: object) -> None:
        raise MemoryError

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(History, "records", fail_async)
    monkeypatch.setattr(History, "entities_at", fail_async)
    monkeypatch.setattr("eventapi.resources.access.readable_numbers", fail)

    answer = long.caller.get(path.format(number=long.number))
    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"]
