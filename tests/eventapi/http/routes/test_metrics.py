"""GET /metrics: every answer is counted once, under labels that are few and tell nothing of anybody."""

from __future__ import annotations

import asyncio
import errno
import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from litestar.types import Message, Receive, Scope, Send
from prometheus_client.exposition import generate_latest

from eventapi.app import create_app
from eventapi.bootstrap import telemetry as observing
from eventapi.bootstrap.telemetry import count_requests
from eventapi.http.middleware.edge import EdgeMiddleware
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.http.problem_types import PROBLEMS
from eventapi.tasks import restart as background
from eventapi.telemetry.metrics import exposition
from eventapi.telemetry.metrics.memory import resident_bytes
from eventapi.telemetry.metrics.meters import (
    METHODS,
    OTHER_METHOD,
    Meters,
    Sample,
    meters_unless_full,
)
from eventapi.telemetry.metrics.store import MetricsStore
from events.errors import LogFenced, LogUnavailable, StorageFull
from events.log.memory import MemoryLog
from events.log.port import Head
from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem, quiet_settings
from tests.eventapi.telemetry.metrics.reading import Page

REQUESTS = "eventapi_http_requests_total"
DURATIONS = "eventapi_http_request_duration_seconds"
WAIT_SECONDS = 60.0


def scraped(api: Api, **headers: str) -> Page:
    answer = api.request("GET", "/metrics", headers=headers)
    assert answer.status_code == 200
    return Page.of(answer.text, answer.headers["content-type"])


def requests(page: Page, method: str, route: str, status: int) -> float | None:
    return page.value(REQUESTS, method=method, route=route, status=str(status))


def test_every_answer_is_counted_once_by_method_route_and_status(new_api: Api) -> None:
    ann = new_api.caller()
    number = ann.create()
    asked: list[tuple[str, str, dict[str, Any], str, int]] = [
        ("GET", f"/items/{number}", {}, "/items/{item_id}", 200),
        ("GET", "/items/999", {}, "/items/{item_id}", 404),
        ("HEAD", f"/api/v2/items/{number}", {}, "/api/v2/items/{item_id}", 200),
        ("GET", f"/items/{number}", {"token": "no"}, "/items/{item_id}", 401),
        ("PATCH", f"/items/{number}", {"json": {"title": 7}}, "/items/{item_id}", 422),
        ("POST", "/items", {"content": b"x" * 100_000}, "/items", 413),
        ("POST", "/api/v2/items", {"content": b"x"}, "/api/v2/items", 415),
        ("OPTIONS", "/items", {}, "/items", 204),
        ("GET", "/nowhere/ann", {}, "none", 404),
        ("PUT", "/items", {}, "none", 405),
        ("BREW", "/items", {}, "none", 405),
        ("GET", "//items", {}, "none", 404),
        ("GET", "/docs", {"headers": {"host": "not a host"}}, "none", 400),
        ("DELETE", f"/items/{number}", {}, "/items/{item_id}", 204),
    ]
    before = scraped(new_api)
    for method, path, how, _, status in asked:
        assert ann.request(method, path, **how).status_code == status, (method, path)
    page = scraped(new_api)
    for method, _, _, route, status in asked:
        shown = method if method in METHODS else OTHER_METHOD
        earlier = requests(before, shown, route, status) or 0.0
        times = sum(one[3:] == (route, status) and one[0] == method for one in asked)
        assert requests(page, shown, route, status) == earlier + times, (method, route, status)
    # The page before counts itself once it was answered.
    assert page.total(REQUESTS) - before.total(REQUESTS) == len(asked) + 1
    assert page.total(f"{DURATIONS}_count") == page.total(REQUESTS)


def test_an_answer_is_counted_before_anybody_can_have_it() -> None:
    """Once, and just before the last of it is handed on."""
    seen: list[tuple[str, int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        for more in (True, False):
            await send({"type": "http.response.body", "body": b"a", "more_body": more})

    async def send(message: Message) -> None:
        seen.append(("sent", len(seen)))

    def observe(scope: Scope, status: int, seconds: float) -> None:
        assert seconds >= 0
        seen.append(("told", status))

    async def receive() -> Any:
        raise AssertionError

    scope: Any = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/metrics"}
    scope |= {"raw_path": b"/metrics", "query_string": b"", "headers": [(b"host", b"here")]}
    scope |= {"scheme": "http", "client": ("127.0.0.1", 1)}
    limiter = RateLimiter(quiet_settings(), *[mock.Mock()] * 3)
    edge = EdgeMiddleware(app, [observe], lambda: limiter)
    asyncio.run(edge(scope, receive, send))
    assert seen == [("sent", 0), ("sent", 1), ("told", 200), ("sent", 3)]


def test_labels_do_not_grow_with_ids_and_tell_nothing_that_was_typed(new_api: Api) -> None:
    ann = new_api.caller("ann-canary")
    first = ann.create("canary")

    def ask(item: int, word: str) -> None:
        ann.get(f"/items/{item}")
        ann.get(f"/items/{word}")
        ann.get(f"/{word}")
        ann.get(f"/items?q={word}", headers={"user-agent": word, "x-request-id": word})
        ann.request(word.upper(), "/items")
        new_api.login(word)

    ask(first, "canary1")
    series = scraped(new_api).series
    for number in range(2, 30):
        ask(ann.create("canary"), f"canary{number}")
    answer = new_api.request("GET", "/metrics")
    assert "canary" not in answer.text.lower()
    assert Page.of(answer.text).series - series <= {
        sample for sample in Page.of(answer.text).series if ("route", "/metrics") in sample[1]
    }


def test_the_format_is_the_one_that_is_accepted(api: Api) -> None:
    api.request("GET", "/metrics")
    plain = api.request("GET", "/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    prometheus = (
        "application/openmetrics-text;version=1.0.0;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    modern = api.request("GET", "/metrics", headers={"accept": prometheus})
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    pages = [Page.of(answer.text, answer.headers["content-type"]) for answer in (plain, modern)]
    names = [{family.name for family in page.families} for page in pages]
    assert names[0] == names[1]
    assert modern.text.endswith("# EOF\n")
    odd = {"accept": "application/openmetrics-text; version=\u00e9\x7f"}
    for accept in ("", "text/html", "*/*", odd["accept"].encode("latin-1")):
        assert api.request("GET", "/metrics", headers={"accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text;q=0, text/plain", "text/plain"),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", "text/plain"),
        ("text/plain;q=0.1, application/openmetrics-text;q=0.9", "application/openmetrics-text"),
        ("application/openmetrics-text, */*", "application/openmetrics-text"),
    ],
)
def test_the_format_that_is_liked_better_wins(api: Api, accept: str, kind: str) -> None:
    answer = api.request("GET", "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


def test_however_many_ask_at_once_a_page_is_made_for_all_of_them_and_not_in_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask, as often as they like: the requests of others are not to wait for it."""
    made: list[bool] = []

    def generate(registry: Any) -> bytes:
        made.append(threading.current_thread() is threading.main_thread())
        return generate_latest(registry)

    monkeypatch.setattr(exposition, "generate_latest", generate)

    async def sample() -> Sample:
        return Sample(1, 0, 0, 0, 0, 0, None, None, signing_ok=True)

    async def ask(meters: Meters) -> list[bytes]:
        asked = exposition.Exposition(meters, sample)
        return await asyncio.gather(*(asked.page(exposition.TEXT) for _ in range(20)))

    with meters_unless_full(tmp_path, "1") as meters:
        assert meters is not None
        pages = asyncio.run(ask(meters))
    assert len(set(pages)) == 1
    assert made == [False]


class Failing:
    """Tells how things are, but for the first time."""

    def __init__(self) -> None:
        self.asked = 0
        self.answered = asyncio.Event()

    async def sample(self) -> Sample:
        self.asked += 1
        if self.asked == 1:
            raise OSError(errno.EIO, "of the system")
        self.answered.set()
        return Sample(7, 0, 0, 0, 0, 0, None, None, signing_ok=True)


def test_a_worker_goes_on_telling_how_things_are_though_it_could_not_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RESTART_DELAY_SECONDS", 0)
    failing = Failing()

    async def wait(meters: Meters) -> None:
        asked = exposition.Exposition(meters, failing.sample)
        async with asyncio.timeout(WAIT_SECONDS), count_requests([], asked):
            await failing.answered.wait()
            await asyncio.sleep(0)

    with meters_unless_full(tmp_path, "1") as meters:
        assert meters is not None
        asyncio.run(wait(meters))
        assert Page(meters.store.collect()).value("eventapi_log_position") == 7.0


@pytest.mark.parametrize("after", [exposition.TEXT, exposition.OPENMETRICS])
def test_a_page_that_could_not_be_made_is_made_the_next_time(tmp_path: Path, after: str) -> None:
    async def ask(meters: Meters) -> bytes:
        asked = exposition.Exposition(meters, Failing().sample)
        first = [asked.page(exposition.TEXT) for _ in range(3)]
        told = await asyncio.gather(*first, asked.page(after), return_exceptions=True)
        assert isinstance(told[0], OSError)
        return await asked.page(after)

    with meters_unless_full(tmp_path, "1") as meters:
        assert meters is not None
        assert b"eventapi_log_position 7.0" in asyncio.run(ask(meters))


def test_names_follow_the_conventions(ann: Caller) -> None:
    ann.create()
    for family in scraped(ann.api).families:
        assert family.documentation.endswith(".")
        assert family.name.startswith(("eventapi_", "process_"))
        names = {sample.name for sample in family.samples}
        assert family.type in {"counter", "gauge", "histogram"}
        assert all(name.endswith("_total") for name in names) == (family.type == "counter")
        if "seconds" in family.name:
            assert family.name.endswith("_seconds")


def test_it_is_there_under_every_prefix_and_answers_head(api: Api, prefix: str) -> None:
    assert api.request("GET", f"{prefix}/metrics").text.startswith("# HELP ")
    head = api.request("HEAD", f"{prefix}/metrics")
    assert (head.status_code, head.text) == (200, "")


def test_it_is_not_limited() -> None:
    with Api(quiet_settings(rate_limit="1/minute")) as api:
        for prefix in PREFIXES * 2:
            assert api.request("GET", f"{prefix}/metrics").status_code == 200


def test_where_metrics_are_off_there_is_nothing() -> None:
    with Api(quiet_settings(metrics="off")) as api:
        assert_problem(api.request("GET", "/metrics"), 404, "not-found")
        assert api.caller().get("/items").status_code == 200


def test_refusals_are_counted_by_limit() -> None:
    with Api(quiet_settings(rate_limit="4/minute", rate_limit_login="2/minute")) as api:
        for _ in range(3):
            api.login("nobody")
        for _ in range(3):
            api.request("GET", "/items")
        page = scraped(api)
    refused = "eventapi_rate_limited_requests_total"
    assert page.value(refused, limit="login") == 1.0
    assert page.value(refused, limit="caller") == 2.0


def test_logins_are_counted_by_outcome(new_api: Api) -> None:
    new_api.caller("ann")
    new_api.login("ann")
    new_api.login("ann", "wrong")
    new_api.login("nobody")
    new_api.request("POST", "/api/v2/auth/login", json={"username": 7})
    new_api.request("GET", "/auth/login")
    page = scraped(new_api)
    outcomes = {
        outcome: page.value("eventapi_logins_total", outcome=outcome)
        for outcome in ("succeeded", "refused", "disabled", "limited", "malformed", "failed")
    }
    assert outcomes == {
        "succeeded": 2.0,
        "refused": 2.0,
        "malformed": 1.0,
        "disabled": 0.0,
        "limited": 0.0,
        "failed": 0.0,
    }


def test_writes_and_how_things_are(new_api: Api) -> None:
    ann = new_api.caller()
    for _ in range(3):
        ann.create()
    page = scraped(new_api)
    assert page.value("eventapi_log_position") == new_api.log.position == 5
    assert page.value("eventapi_log_appended_events_total") == 5.0
    for name in ("eventapi_journal_write_seconds", "eventapi_journal_batch_requests"):
        assert page.value(f"{name}_count") == 5.0
    for name in ("eventapi_journal_lock_seconds", "eventapi_log_append_seconds"):
        assert page.value(f"{name}_count") == 5.0
    assert page.value("eventapi_sessions") == 1.0
    assert page.value("eventapi_projection_lag_events") == 0.0
    assert page.value("eventapi_journal_queue_length") == 0.0
    assert page.value("eventapi_streams") == 0.0
    assert page.value("eventapi_workers") == 1.0
    assert page.value("eventapi_worker_starts_total") == 1.0
    assert (page.value("process_resident_memory_bytes") or 0) > 1e7
    assert page.total("eventapi_build_info") == 1.0
    ann.post("/auth/logout")
    assert scraped(new_api).value("eventapi_sessions") == 0.0


def test_metrics_begin_as_soon_as_their_files_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a start on a full disk: the server serves, and counts later."""
    has_room = False
    make = MetricsStore.__init__

    def fail_without_room(store: MetricsStore, root: Path, instance: str) -> None:
        if not has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        make(store, root, instance)

    monkeypatch.setattr(MetricsStore, "__init__", fail_without_room)
    monkeypatch.setattr(observing, "RETRY_SECONDS", 0.05)
    with Api() as api:
        ann = api.caller()
        assert_problem(api.request("GET", "/metrics"), 404, "not-found")
        has_room = True
        while api.request("GET", "/metrics").status_code == 404:
            api.run(asyncio.sleep(0.01))
        before = scraped(api)
        ann.create()
        page = scraped(api)
    assert page.value("eventapi_workers") == 1.0
    assert page.value("eventapi_journal_write_seconds_count") == 1.0
    assert page.value("eventapi_log_appended_events_total") == 1.0
    assert requests(page, "POST", "/items", 200) == 1.0
    assert requests(before, "POST", "/items", 200) is None


def test_memory_is_that_of_every_process_of_the_server() -> None:
    """Such as the process that takes a snapshot."""
    program = "import sys; kept = b'x' * 200_000_000; print(flush=True); sys.stdin.read()"
    before = resident_bytes() or 0
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert (resident_bytes() or 0) - before > 150_000_000
        child.communicate()
    assert abs((resident_bytes() or 0) - before) < 50_000_000


class FailingLog(MemoryLog):
    """A log whose next append fails."""

    failure: Exception | None = None

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        if self.failure is not None:
            raise self.failure
        await super().append(lines, head, revokes=revokes)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StorageFull("no room"), "full"),
        (LogFenced("a sync failed"), "fenced"),
        (LogUnavailable("no lock"), "unavailable"),
        (OSError(5, "an error"), "unavailable"),
    ],
)
def test_appends_that_fail_are_counted_by_reason(
    failure: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os._exit", lambda _: None)
    log = FailingLog()
    with Api(log=log) as api:
        ann = api.caller()
        log.failure = failure
        assert ann.post("/items", json={"title": "a"}).status_code >= 500
        page = scraped(api)
    name = "eventapi_log_append_failures_total"
    assert page.value(name, reason=reason) == page.total(name) == 1.0
    assert page.value("eventapi_log_append_seconds_count") == 2.0


def test_apps_in_one_process_count_for_themselves() -> None:
    with Api() as one, Api() as another:
        one.request("GET", "/items")
        assert requests(scraped(one), "GET", "/items", 401) == 1.0
        assert requests(scraped(another), "GET", "/items", 401) is None


def test_a_worker_that_is_still_folding_the_log_is_none_that_serves(tmp_path: Path) -> None:
    with meters_unless_full(tmp_path, "1") as meters:
        assert meters is not None
        assert Page(meters.store.collect()).value("eventapi_workers") == 0.0
        meters.sample(Sample(1, 0, 0, 0, 0, 0, None, None, signing_ok=True))
        assert Page(meters.store.collect()).value("eventapi_workers") == 1.0


def test_a_server_whose_numbers_cannot_be_kept_serves_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_text("a file")
    with meters_unless_full(tmp_path / "metrics", "1") as meters:
        assert meters is None
    assert "counts nothing" in caplog.text


def routes() -> Iterator[tuple[str, str]]:
    """Every method and template that the app answers."""
    for route in create_app(quiet_settings()).routes:
        for method in getattr(route, "methods", ()):
            yield method, getattr(route, "path_format", route.path)


@pytest.mark.long
def test_there_is_room_for_every_series_that_there_can_be(tmp_path: Path) -> None:
    statuses = {200, 201, 204, 304, 0, *(kind.status for kind in PROBLEMS.values())}
    served = [*routes(), *((method, None) for method in (*METHODS, OTHER_METHOD))]
    assert len(served) > 150
    with meters_unless_full(tmp_path, "1") as meters:
        assert isinstance(meters, Meters)
        for (method, route), status in itertools.product(served, statuses):
            meters.count_request(method, route, status, 0.001)
        page = Page(meters.store.collect())
    asked = len(served) * len(statuses)
    assert page.total(REQUESTS) == page.total(f"{DURATIONS}_count") == asked
