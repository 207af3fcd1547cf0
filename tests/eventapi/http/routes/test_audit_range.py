"""Auditors read events between two moments, oldest or newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from eventapi.testing.given import at, created, registered
from eventapi.testing.sample_log import write
from events.log.memory import MemoryLog
from events.log.port import Head
from tests.eventapi.http.client import Api, Caller, assert_problem
from tests.eventapi.http.streams import NDJSON, SSE, StreamReader, ways_to_lose_access

EVENTS = 2_000


class CountingLog(MemoryLog):
    """A log that counts the lines that were read of it."""

    lines_read = 0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            self.lines_read += len(lines)
            yield lines


@pytest.fixture(scope="module")
def audited() -> Any:
    """An app over a log with an event in each second, its log, and an auditor."""
    written = write([registered(1, "ann"), *(created(number, 1) for number in range(1, EVENTS))])
    log = CountingLog(written.lines, Head(EVENTS, written.records[-1].hash))
    with Api(log=log, vault=asyncio.run(written.vault())) as api:
        yield api, log, api.auditor()


@pytest.fixture
def auditor(audited: tuple[Api, CountingLog, Caller]) -> Caller:
    return audited[2]


def positions(caller: Caller, query: str) -> list[int]:
    """The positions on a page."""
    answer = caller.get(f"/audit/events?{query}")
    assert answer.status_code == 200, answer.text
    return [int(one["id"]) for one in answer.json()["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"since={at(10)}&until={at(12)}", [10, 11, 12]),
        (f"since={at(10)}&until={at(12)}&order=desc", [12, 11, 10]),
        ("since=10&until=12", [10, 11, 12]),
        (f"since=10&until={at(12)}", [10, 11, 12]),
        (f"since={at(10)}&until={at(10)}", [10]),
        (f"since={at(10)[:-8]}.000001Z&until={at(12)[:-8]}.999999Z", [11, 12]),
        ("since=2026-01-01T00:00:10-00:00&until=2026-01-01T02:00:11+02:00", [10, 11]),
        ("until=2", [1, 2]),
        (f"until={at(-1)}", []),
        ("since=99999999", []),
        ("since=2999-01-01T00:00:00Z", []),
        ("since=12&until=2026-01-01T00:00:10Z", []),
        ("since=10&until=12&after=10", [11, 12]),
        ("since=10&until=12&after=12&order=desc", [11, 10]),
        ("after=3&order=desc", [2, 1]),
        ("after=0&order=desc", []),
        ("since=10&until=14&subject=items/11", [12]),
        ("since=10&until=14&type=user.registered", []),
        ("since=1&until=14&type=user.registered&actor=operator/test&order=desc", [1]),
    ],
)
def test_a_range_has_the_events_between_both_moments(
    auditor: Caller, query: str, found: list[int]
) -> None:
    query = query.replace("+", "%2B")
    assert positions(auditor, query) == found
    text = auditor.get(f"/audit/events?{query}", headers={"accept": NDJSON}).text
    assert [int(msgspec.json.decode(line)["id"]) for line in text.splitlines()] == found


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("most", [100_000, 2])
def test_pages_follow_the_order_while_the_log_grows(
    audited: tuple[Api, CountingLog, Caller],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    most: int,
) -> None:
    monkeypatch.setattr("eventapi.http.routes.audit._LINES_PER_PART", most)
    monkeypatch.setattr("eventapi.http.routes.audit._SCAN_SECONDS", 0)
    auditor = audited[2]
    found: list[int] = []
    for page in auditor.pages(f"/audit/events?since=5&until={at(30)}&order={order}&limit=3"):
        found += [int(one["id"]) for one in page.json()["items"]]
        auditor.create()
    assert found == sorted(range(5, 31), reverse=order == "desc")


def test_newest_events_are_first(audited: tuple[Api, CountingLog, Caller]) -> None:
    api, log, auditor = audited
    last = log.position
    assert positions(auditor, "order=desc&limit=2") == [last, last - 1]
    lines = auditor.get("/audit/events?order=desc", headers={"accept": NDJSON}).content
    assert lines.splitlines() == api.log_lines()[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_narrow_range_does_not_read_the_whole_log(
    audited: tuple[Api, CountingLog, Caller], order: str
) -> None:
    _, log, auditor = audited
    before = log.lines_read
    query = f"since={at(1_000)}&until={at(1_002)}&order={order}"
    assert sorted(positions(auditor, query)) == [1_000, 1_001, 1_002]
    assert log.lines_read - before < 50


def test_control_the_whole_log_is_read_for_all(
    audited: tuple[Api, CountingLog, Caller],
) -> None:
    _, log, auditor = audited
    before = log.lines_read
    auditor.get("/audit/events?type=user.erased")
    assert log.lines_read - before >= EVENTS


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("since=x", "since"),
        ("since=-1", "since"),
        ("since=2026-01-01", "since"),
        ("since=2026-02-30T00:00:00Z", "since"),
        ("until=2026-01-01T00:00:00", "until"),
        ("until=", "until"),
        ("order=newest", "order"),
        ("order=DESC", "order"),
        ("since=3&until=2", "until"),
        ("since=2026-01-01T00:00:01Z&until=2026-01-01T00:00:00Z", "until"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", NDJSON, SSE])
def test_a_bad_range_is_refused_with_its_name(
    auditor: Caller, query: str, name: str, accept: str
) -> None:
    answer = auditor.under("/api/v2").get(f"/audit/events?{query}", headers={"accept": accept})
    problem = assert_problem(answer, 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [f"/{name}"]


@pytest.mark.parametrize("query", ["order=desc", "until=3", "until=2999-01-01T00:00:00Z"])
def test_a_live_stream_has_neither_an_end_nor_an_order(auditor: Caller, query: str) -> None:
    answer = auditor.under("/api/v2").get(f"/audit/events?{query}", headers={"accept": SSE})
    problem = assert_problem(answer, 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [f"/{query.partition('=')[0]}"]


def test_a_live_stream_begins_with_the_events_since(new_api: Api) -> None:
    auditor = new_api.auditor()
    end = new_api.log.position
    reader = StreamReader(auditor, "/audit/events", SSE, f"since={end}")

    reader.read((f"id: {end}\n".encode(), ways_to_lose_access(auditor)["logged out"]))

    assert [line for line in reader.body.split(b"\n") if line.startswith(b"id:")] == [
        f"id: {end}".encode()
    ]
