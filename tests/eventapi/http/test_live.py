"""Many streams: a line is read once for all, and wakes only those that deliver it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from eventapi.http.request import ApiRequest
from eventapi.http.routes import events as feeds
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import V2
from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.queries.live_events import Line, LiveEvents, Subscription
from eventapi.queries.subscriptions import EventFilter
from eventapi.testing.items import Content, create_item
from events.record import Record
from tests.eventapi.http.client import Api, Caller, assert_problem, credentials
from tests.eventapi.http.streams import SSE, Action, OpenStreams, StreamReader
from tests.eventapi.http.turns import turns_during
from tests.eventapi.queries.test_history import CountingLog


@pytest.fixture
def counting() -> Iterator[tuple[Api, CountingLog]]:
    log = CountingLog()
    with Api(log=log) as api:
        yield api, log


def stream(caller: Caller, query: str = "") -> StreamReader:
    return StreamReader(caller, "/items/events", SSE, query)


def create(caller: Caller, title: str) -> Action:
    """The action that creates an item."""

    async def post() -> None:
        answer = await caller.api.request_async(
            "POST", "/items", caller.token, json={"title": title}
        )
        assert answer.status_code == 200

    return post


def test_a_line_is_read_once_for_any_number_of_streams(
    counting: tuple[Api, CountingLog],
) -> None:
    api, log = counting
    ann, others = api.caller(), [api.caller() for _ in range(4)]
    readers = [stream(one) for one in others for _ in range(10)] + [stream(ann) for _ in range(10)]
    counts: list[int] = []

    async def count_lines() -> None:
        counts.append(log.lines_read)

    OpenStreams(*readers).run(count_lines, create(ann, "mine"), count_lines)

    assert all((b"mine" in reader.body) == (reader.caller is ann) for reader in readers)
    # The journal reads the line, the streams' reader does, and decryption needs the line before.
    assert counts[1] - counts[0] <= 5


def test_a_line_wakes_no_stream_that_does_not_deliver_it(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann, bob = api.caller(), api.caller()
    checked: list[str] = []
    authenticate = ApiRequest.authenticate

    async def record_check(self: ApiRequest) -> Any:
        caller = await authenticate(self)
        if self.scope["path"].endswith("/events"):
            checked.append(caller.user.username)
        return caller

    async def clear() -> None:
        checked.clear()

    monkeypatch.setattr(ApiRequest, "authenticate", record_check)

    OpenStreams(stream(ann), stream(bob)).run(
        clear, *(create(ann, f"item {number}") for number in range(3))
    )

    assert set(checked) == {ann.name}


@pytest.mark.parametrize("count", [1, 40])
def test_events_are_delivered_in_order_and_once(
    counting: tuple[Api, CountingLog], count: int
) -> None:
    api, _ = counting
    ann = api.caller()
    readers = [stream(ann, "after=0"), stream(ann)]

    async def burst() -> None:
        await asyncio.gather(*(create(ann, f"burst {number}")() for number in range(count)))

    OpenStreams(*readers).run(create(ann, "first"), burst, create(ann, "last"))

    for reader in readers:
        lines = reader.body.decode().splitlines()
        ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
        assert ids == sorted(set(ids))
        assert len(ids) == count + 2


def test_a_stream_that_falls_behind_reads_the_log_itself(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All streams do so when more lines arrive at once than the server distributes."""
    api, _ = counting
    ann = api.caller()
    for name in ("_MAX_PENDING_LINES", "_MAX_LINES_BEHIND"):
        with monkeypatch.context() as patched:
            patched.setattr(f"eventapi.queries.live_events.{name}", 3)
            reader = stream(ann)

            async def burst() -> None:
                await asyncio.gather(*(create(ann, f"burst {n}")() for n in range(30)))

            OpenStreams(reader).run(burst, create(ann, "last"), until=b'"last"')

            assert reader.body.count(b"event: item.created") == 31


def test_streams_of_one_user_catch_up_one_at_a_time_with_few_lines_per_read(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann = api.caller()
    for number in range(40):
        assert ann.post("/items", json={"title": f"item {number}"}).status_code == 200
    running: list[int] = []
    most: dict[str, int] = {"lines": 0, "reads": 0}
    read = History.records

    async def count_reads(self: History, positions: Sequence[int]) -> list[Record]:
        running.append(len(positions))
        most["reads"] = max(most["reads"], len(running))
        most["lines"] = max(most["lines"], len(positions))
        await asyncio.sleep(0.001)
        found = await read(self, positions)
        running.pop()
        return found

    monkeypatch.setattr(History, "records", count_reads)
    readers = [stream(ann, "after=0") for _ in range(8)]

    async def wait_for_all_events() -> None:
        async with asyncio.timeout(30):
            while any(reader.body.count(b"event: item.created") < 40 for reader in readers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    OpenStreams(*readers).run(wait_for_all_events)

    assert [reader.body.count(b"event: item.created") for reader in readers] == [40] * 8
    assert most["reads"] == 1
    assert most["lines"] <= RECORDS_PER_READ


def test_a_stream_buffers_a_bounded_number_of_bytes_for_a_slow_client() -> None:
    """Lines may be long, and a user with a slow client must not fill the memory."""
    subscription = Subscription(1, "", None)

    for position in range(1, 100):
        subscription.put(Line(position, "item.updated", bytes(65_000)))
        assert sum(len(line.line) for line in subscription._pending) <= 1_048_576

    assert subscription.take() is None
    assert subscription.start > 80


def test_control_short_lines_are_all_buffered() -> None:
    subscription = Subscription(1, "", None)
    lines = [Line(position, "item.updated", bytes(1_000)) for position in range(1, 1_001)]
    for line in lines:
        subscription.put(line)
    assert subscription.take() == lines

    subscription.put_back(lines)
    assert subscription.take() == lines


def test_the_number_of_streams_of_a_process_is_limited(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    monkeypatch.setattr(feeds, "MAX_STREAMS_IN_ALL", 3)
    callers = [api.caller() for _ in range(2)]
    refused: list[int] = []

    async def open_one_more() -> None:
        for caller in callers:
            answer = await api.request_async(
                "GET", "/items/events", caller.token, headers={"accept": SSE}
            )
            assert_problem(answer, 503, "overloaded")
            refused.append(answer.status_code)

    readers = [stream(callers[0]), stream(callers[0]), stream(callers[1])]
    OpenStreams(*readers).run(open_one_more)

    assert refused == [503, 503]
    assert [reader.status for reader in readers] == [200] * 3


# Positions ahead of the log


def resume(
    caller: Caller, path: str, *actions: Action, query: str = "", **headers: str
) -> list[tuple[str, str, str]]:
    """Resume a stream and return the id, type and data of each of its events."""
    reader = StreamReader(caller, path, SSE, query, **headers)
    OpenStreams(reader).run(*actions)
    found = []
    for block in reader.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["id"], fields["event"], fields["data"]))
    return found


AHEAD_OF_THE_LOG = pytest.mark.parametrize(
    "how", [{"last_event_id": "50000"}, {"query": "after=50000"}]
)


@AHEAD_OF_THE_LOG
def test_a_client_ahead_of_the_log_is_reset(
    counting: tuple[Api, CountingLog], how: dict[str, str]
) -> None:
    """It has read another log, and would miss every event up to its position."""
    api, log = counting
    ann = api.caller()
    before = log.position

    events = resume(ann, "/items/events", create(ann, "new"), **how)

    assert events[0] == (str(before), "reset", f'{{"position":{before}}}')
    assert [kind for _, kind, _ in events[1:]] == ["item.created"]


@AHEAD_OF_THE_LOG
def test_an_auditor_ahead_of_the_log_restarts_at_its_beginning(
    counting: tuple[Api, CountingLog], how: dict[str, str]
) -> None:
    api, log = counting
    auditor = api.auditor()

    events = resume(auditor, "/audit/events", **how)

    assert events[0] == ("0", "reset", '{"position":0}')
    assert [int(number) for number, _, _ in events[1:]] == list(range(1, log.position + 1))


@pytest.mark.parametrize("ahead", [0, 1])
def test_control_a_client_at_the_end_of_the_log_is_not_reset(
    counting: tuple[Api, CountingLog], ahead: int
) -> None:
    """Nor is one that got a newer event from another instance: the stream waits."""
    api, log = counting
    ann = api.caller()
    last = str(log.position + ahead)
    actions = [create(ann, "one"), create(ann, "two")]

    events = resume(ann, "/items/events", *actions, last_event_id=last)

    assert [kind for _, kind, _ in events] == ["item.created"] * (2 - ahead)


# The background task that reads for all streams


def test_the_background_reader_continues_after_a_failure(
    counting: tuple[Api, CountingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counting
    ann = api.caller()
    failed: list[int] = []
    advance = LiveEvents._advance

    async def fail_once(self: LiveEvents, upto: int) -> None:
        if not failed:
            failed.append(upto)
            raise RuntimeError("only once")
        await advance(self, upto)

    monkeypatch.setattr(LiveEvents, "_advance", fail_once)
    monkeypatch.setattr("eventapi.queries.live_events._RETRY_SECONDS", 0.01)
    reader = stream(ann)

    OpenStreams(reader).run(create(ann, "one"), create(ann, "two"))

    assert failed
    assert reader.body.count(b"event: item.created") == 2


def test_closed_streams_leave_no_subscription(counting: tuple[Api, CountingLog]) -> None:
    api, _ = counting
    ann = api.caller()
    lives: list[LiveEvents] = []
    subscribe = LiveEvents.subscribe

    def record(self: LiveEvents, subscription: Subscription) -> Any:
        lives.append(self)
        return subscribe(self, subscription)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LiveEvents, "subscribe", record)
        OpenStreams(*(stream(ann) for _ in range(3))).run()

    live = lives[0]
    assert live.count == 0
    assert not live._by_user
    assert not live._by_credential


def test_a_filter_matches_the_members_of_a_line_as_it_matches_the_line() -> None:
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
    """Streams must wake for events that end the client's access, too."""
    api, _ = counting
    ann = api.caller()
    readers = [stream(ann), stream(ann)]

    async def end_all_sessions() -> None:
        tasks = [asyncio.create_task(reader.read_async()) for reader in readers]
        await asyncio.sleep(0.1)
        login = await api.request_async("POST", "/auth/login", json=credentials(ann.name))
        await api.request_async("DELETE", "/auth/sessions", login.json()["access_token"])
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    api.run(end_all_sessions())

    assert [reader.is_complete for reader in readers] == [True, True]


def far_behind(api: Api, count: int) -> tuple[feeds._ResourceStream, Any]:
    """A stream of a user with so many items, and its reader."""
    api.execute(*(create_item(1, Content(f"item {number}", None)) for number in range(count)))
    services = api.edge.services
    state = api.run(services.journal.state())
    reader = SimpleNamespace(user=state.users.by_id[1], number=1, state=state)
    request: Any = SimpleNamespace(reader=reader)
    return feeds._ResourceStream(request, shape_of(services.registry.item, V2)), reader


def test_other_requests_run_while_the_changes_of_many_resources_are_found(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api.caller()
    scanned, reader = far_behind(new_api, 100)
    monkeypatch.setattr(feeds, "_PER_TURN", 10)
    assert turns_during(scanned._positions_of_resources(reader, 0)) >= 9


def test_what_is_written_while_changes_are_found_is_left_to_the_next_scan(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = new_api.caller()
    scanned, reader = far_behind(new_api, 300)
    monkeypatch.setattr(feeds, "_PER_TURN", 1)
    before = reader.state.position

    async def scan_during_a_write() -> list[int]:
        scanning = asyncio.create_task(scanned._positions_of_resources(reader, 0))
        await new_api.request_async("PUT", "/items/300", ann.token, json={"title": "new"})
        assert not scanning.done()
        return await scanning

    found = new_api.run(scan_during_a_write())
    assert reader.state.position == before + 1
    assert found == list(range(before - 299, before + 1))
