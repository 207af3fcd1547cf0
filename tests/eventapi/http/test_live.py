"""Many streams: a line is read once for all of them, and wakes those that deliver it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from eventapi.commands.users import GrantRole
from eventapi.http.request import ApiRequest
from eventapi.http.routes import events as feeds
from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.queries.live_events import Line, LiveEvents, Subscription
from eventapi.queries.subscriptions import EventFilter
from events.record import Record
from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem, elsewhere
from tests.eventapi.http.routes.test_events import BEGUN, LIVE, Taker
from tests.eventapi.queries.test_history import CountingLog


class Streams:
    """Streams that are open at an app; a step runs once each of them has begun."""

    def __init__(self, takers: list[Taker]) -> None:
        self.takers = takers

    async def during(self, *steps: Any) -> None:
        """Open all of them, run the steps one after the other, and close them."""
        tasks = [asyncio.create_task(taker.take()) for taker in self.takers]
        while not all(BEGUN in taker.body for taker in self.takers):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        for step in steps:
            await step()
            await asyncio.sleep(0.15)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def counting() -> Iterator[tuple[Api, CountingLog]]:
    log = CountingLog()
    with Api(log=log) as api:
        yield api, log


def stream(caller: Caller, **query: str) -> Taker:
    return Taker(caller, "/items/events", LIVE, "&".join(f"{k}={v}" for k, v in query.items()))


def creating(caller: Caller, title: str) -> Any:
    async def create() -> None:
        answer = await caller.api.ask("POST", "/items", caller.token, json={"title": title})
        assert answer.status_code == 200

    return create


def test_a_line_is_read_once_however_many_streams_are_open(
    counting: tuple[Api, CountingLog],
) -> None:
    api, log = counting
    ann, others = api.caller(), [api.caller() for _ in range(4)]
    takers = [stream(one) for one in others for _ in range(10)] + [stream(ann) for _ in range(10)]
    read: list[int] = []

    async def note() -> None:
        read.append(log.lines_read)

    api.run(Streams(takers).during(note, creating(ann, "mine"), note))
    assert all((b"mine" in taker.body) == (taker.caller is ann) for taker in takers)
    # By the journal, by the reader of all streams, and with the line before it to be opened.
    assert read[1] - read[0] <= 5


def test_a_line_wakes_no_stream_that_does_not_deliver_it(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann, bob = api.caller(), api.caller()
    asked: list[str] = []
    authenticate = ApiRequest.authenticate

    async def noted(self: ApiRequest) -> Any:
        caller = await authenticate(self)
        if self.scope["path"].endswith("/events"):
            asked.append(caller.user.username)
        return caller

    monkeypatch.setattr(ApiRequest, "authenticate", noted)

    async def forget() -> None:
        asked.clear()

    api.run(
        Streams([stream(ann), stream(bob)]).during(
            forget, *(creating(ann, f"item {number}") for number in range(3))
        )
    )
    assert set(asked) == {ann.name}


@pytest.mark.parametrize("count", [1, 40])
def test_events_come_in_order_and_once(counting: tuple[Api, CountingLog], count: int) -> None:
    api, _ = counting
    ann = api.caller()
    takers = [stream(ann, after="0"), stream(ann)]

    async def burst() -> None:
        await asyncio.gather(*(creating(ann, f"burst {number}")() for number in range(count)))

    api.run(Streams(takers).during(creating(ann, "first"), burst, creating(ann, "last")))
    for taker in takers:
        lines = taker.body.decode().splitlines()
        ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
        assert ids == sorted(set(ids))
        assert len(ids) == count + 2


def test_a_stream_that_falls_behind_reads_the_log_itself(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all do, because more lines came at once than are handed out."""
    api, _ = counting
    ann = api.caller()
    for name in ("_MAX_PENDING_LINES", "_MAX_LINES_BEHIND"):
        with monkeypatch.context() as patched:
            patched.setattr(f"eventapi.queries.live_events.{name}", 3)
            taker = stream(ann)

            async def burst() -> None:
                await asyncio.gather(*(creating(ann, f"burst {n}")() for n in range(30)))

            api.run(Streams([taker]).during(burst, creating(ann, "last")))
            assert taker.body.count(b"event: item.created") == 31


def test_streams_that_catch_up_read_few_lines_and_one_at_a_time_for_each_user(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann = api.caller()
    for number in range(40):
        assert ann.post("/items", json={"title": f"item {number}"}).status_code == 200
    running: list[int] = []
    most: dict[str, int] = {"lines": 0, "reads": 0}
    read = History.records

    async def counted(self: History, positions: Sequence[int]) -> list[Record]:
        running.append(len(positions))
        most["reads"] = max(most["reads"], len(running))
        most["lines"] = max(most["lines"], len(positions))
        await asyncio.sleep(0.001)
        found = await read(self, positions)
        running.pop()
        return found

    monkeypatch.setattr(History, "records", counted)
    takers = [stream(ann, after="0") for _ in range(8)]

    async def until_all_came() -> None:
        async with asyncio.timeout(30):
            while any(taker.body.count(b"event: item.created") < 40 for taker in takers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    api.run(Streams(takers).during(until_all_came))
    assert [taker.body.count(b"event: item.created") for taker in takers] == [40] * 8
    assert most["reads"] == 1
    assert most["lines"] <= RECORDS_PER_READ


def test_a_stream_that_is_not_read_keeps_a_bounded_number_of_bytes() -> None:
    """Lines may be long: a user with a slow client must not fill the memory by writing."""
    subscription = Subscription(1, "", None)
    for position in range(1, 100):
        subscription.put(Line(position, "item.updated", bytes(65_000)))
        assert sum(len(line.line) for line in subscription._pending) <= 1_048_576
    assert subscription.take() is None
    assert subscription.start > 80


def test_control_short_lines_are_all_handed_out() -> None:
    subscription = Subscription(1, "", None)
    lines = [Line(position, "item.updated", bytes(1_000)) for position in range(1, 1_001)]
    for line in lines:
        subscription.put(line)
    assert subscription.take() == lines
    subscription.put_back(lines)
    assert subscription.take() == lines


def test_all_streams_of_a_process_together_are_bounded(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    monkeypatch.setattr(feeds, "MAX_STREAMS_IN_ALL", 3)
    callers = [api.caller() for _ in range(2)]
    refused: list[int] = []

    async def one_more() -> None:
        for caller in callers:
            answer = await api.ask("GET", "/items/events", caller.token, headers={"accept": LIVE})
            assert_problem(answer, 503, "overloaded")
            refused.append(answer.status_code)

    takers = [stream(callers[0]), stream(callers[0]), stream(callers[1])]
    api.run(Streams(takers).during(one_more))
    assert refused == [503, 503]
    assert [taker.status for taker in takers] == [200] * 3


# Positions ahead of the log


def resumed(caller: Caller, path: str, *steps: Any, **how: str) -> list[tuple[str, str, str]]:
    """The events of a stream that was resumed at a position ahead of the log."""
    taker = Taker(caller, path, LIVE, how.get("query", ""))
    if "last" in how:
        taker._scope["headers"].append((b"last-event-id", how["last"].encode()))  # type: ignore[attr-defined]
    caller.api.run(Streams([taker]).during(*steps))
    found = []
    for block in taker.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["id"], fields["event"], fields["data"]))
    return found


@pytest.mark.parametrize("how", [{"last": "50000"}, {"query": "after=50000"}])
def test_a_client_ahead_of_the_log_is_told_to_begin_anew(
    counting: tuple[Api, CountingLog], how: dict[str, str]
) -> None:
    """It knows a log that is not this one; up to there it would miss every event."""
    api, log = counting
    ann = api.caller()
    before = log.position
    events = resumed(ann, "/items/events", creating(ann, "new"), **how)
    assert events[0] == (str(before), "reset", f'{{"position":{before}}}')
    assert [kind for _, kind, _ in events[1:]] == ["item.created"]


@pytest.mark.parametrize("how", [{"last": "50000"}, {"query": "after=50000"}])
def test_an_auditor_ahead_of_the_log_gets_it_from_its_beginning(
    counting: tuple[Api, CountingLog], how: dict[str, str]
) -> None:
    api, log = counting
    auditor = api.caller()
    elsewhere(api, GrantRole(auditor.name, "auditor", "operator/test"))
    events = resumed(auditor, "/audit/events", **how)
    assert events[0] == ("0", "reset", '{"position":0}')
    assert [int(number) for number, _, _ in events[1:]] == list(range(1, log.position + 1))


@pytest.mark.parametrize("ahead", [0, 1])
def test_control_a_client_at_the_end_of_the_log_is_not_reset(
    counting: tuple[Api, CountingLog], ahead: int
) -> None:
    """Nor one that is ahead because another instance was faster: the event is waited for."""
    api, log = counting
    ann = api.caller()
    last = str(log.position + ahead)
    steps = [creating(ann, "one"), creating(ann, "two")]
    events = resumed(ann, "/items/events", *steps, last=last)
    assert [kind for _, kind, _ in events] == ["item.created"] * (2 - ahead)


# The reader


def test_the_reader_goes_on_after_a_failure(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann = api.caller()
    failed: list[int] = []
    advance = LiveEvents._advance

    async def fails_once(self: LiveEvents, upto: int) -> None:
        if not failed:
            failed.append(upto)
            raise RuntimeError("for once")
        await advance(self, upto)

    monkeypatch.setattr(LiveEvents, "_advance", fails_once)
    monkeypatch.setattr("eventapi.queries.live_events._RETRY_SECONDS", 0.01)
    taker = stream(ann)
    api.run(Streams([taker]).during(creating(ann, "one"), creating(ann, "two")))
    assert failed
    assert taker.body.count(b"event: item.created") == 2


def test_subscriptions_leave_nothing_behind(counting: tuple[Api, CountingLog]) -> None:
    api, _ = counting
    ann = api.caller()
    lives: list[LiveEvents] = []
    subscribed = LiveEvents.subscribe

    def noted(self: LiveEvents, subscription: Subscription) -> Any:
        lives.append(self)
        return subscribed(self, subscription)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LiveEvents, "subscribe", noted)
        api.run(Streams([stream(ann) for _ in range(3)]).during())
    live = lives[0]
    assert live.count == 0
    assert not live._by_user
    assert not live._by_session


def test_a_selection_takes_members_as_it_takes_lines() -> None:
    line = (
        b'{"specversion":"1.0","id":"7","source":"urn:uuid:x","type":"item.created",'
        b'"subject":"items/1","time":"t","actor":"users/1","data":{}}'
    )
    members = (b'"item.created"', b'"items/1"', b'"users/1"')
    for selection in (
        EventFilter(),
        EventFilter.of("item.created", None, None),
        EventFilter.of(None, "items/2", None),
        EventFilter.of("item.created", "items/1", "users/2"),
        EventFilter.of(None, None, "users/1"),
    ):
        assert selection.matches(line) == selection.matches_members(*members)


def test_control_an_ended_session_ends_its_stream_at_once(
    counting: tuple[Api, CountingLog],
) -> None:
    """The filter of wake-ups must let through what ends rights."""
    api, _ = counting
    ann = api.caller()
    takers = [stream(ann), stream(ann)]

    async def run() -> None:
        tasks = [asyncio.create_task(taker.take()) for taker in takers]
        await asyncio.sleep(0.1)
        other = (await api.ask("POST", "/auth/login", json=_login(ann))).json()
        await api.ask("DELETE", "/auth/sessions", other["access_token"])
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    api.run(run())
    assert [taker.is_whole for taker in takers] == [True, True]


def _login(caller: Caller) -> dict[str, str]:
    return {"username": caller.name, "password": PASSWORD}
