"""GET /metrics: every answer is counted once, without personal data."""

from __future__ import annotations

import asyncio
import errno
import itertools
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from litestar.types import Message, Receive, Scope, Send

from eventapi.bootstrap import telemetry as observing
from eventapi.bootstrap.mail import MailTasks
from eventapi.commands.users import DisableUser
from eventapi.http.middleware.edge import EdgeMiddleware
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.http.problem_types import PROBLEMS
from eventapi.telemetry.metrics.meters import METHODS, OTHER_METHOD, Meters, meters_unless_full
from eventapi.telemetry.metrics.store import MetricsStore
from events.errors import LogFenced, LogUnavailable, StorageFull
from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments
from tests.eventapi.http.client import (
    OPERATOR,
    PASSWORD,
    PREFIXES,
    Api,
    Caller,
    assert_problem,
    http_scope,
    quiet_settings,
)
from tests.eventapi.http.logs import FailingLog
from tests.eventapi.http.metrics_page import DURATIONS, REQUESTS, requests, scrape
from tests.eventapi.http.routes.test_second_factors import Guarded
from tests.eventapi.telemetry.metrics.reading import Page


def test_every_answer_is_counted_once_by_method_route_and_status(new_api: Api) -> None:
    ann = new_api.caller()
    number = ann.create()
    cases: list[tuple[str, str, dict[str, Any], str, int]] = [
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
    before = scrape(new_api)
    for method, path, how, _, status in cases:
        assert ann.request(method, path, **how).status_code == status, (method, path)

    page = scrape(new_api)
    for method, _, _, route, status in cases:
        shown = method if method in METHODS else OTHER_METHOD
        earlier = requests(before, shown, route, status) or 0.0
        times = sum(one[3:] == (route, status) and one[0] == method for one in cases)
        assert requests(page, shown, route, status) == earlier + times, (method, route, status)
    # One more, because the first page is counted after it was answered.
    assert page.total(REQUESTS) - before.total(REQUESTS) == len(cases) + 1
    assert page.total(f"{DURATIONS}_count") == page.total(REQUESTS)


async def test_an_answer_is_counted_once_and_before_its_last_part_is_sent() -> None:
    """A client that has the whole answer finds it in the metrics."""
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
        seen.append(("counted", status))

    async def receive() -> Any:
        raise AssertionError

    limiter = RateLimiter(quiet_settings(), *[mock.Mock()] * 3)
    edge = EdgeMiddleware(app, [observe], lambda: limiter)
    scope: Any = http_scope("/metrics")

    await edge(scope, receive, send)

    assert seen == [("sent", 0), ("sent", 1), ("counted", 200), ("sent", 3)]


def test_labels_contain_neither_ids_nor_text_of_clients(new_api: Api) -> None:
    ann = new_api.caller("ann-canary")
    first = ann.create("canary")

    def send_requests(item: int, word: str) -> None:
        ann.get(f"/items/{item}")
        ann.get(f"/items/{word}")
        ann.get(f"/{word}")
        ann.get(f"/items?q={word}", headers={"user-agent": word, "x-request-id": word})
        ann.request(word.upper(), "/items")
        new_api.login(word)

    send_requests(first, "canary1")
    series = scrape(new_api).series
    for number in range(2, 30):
        send_requests(ann.create("canary"), f"canary{number}")

    answer = new_api.request("GET", "/metrics")

    assert "canary" not in answer.text.lower()
    assert Page.of(answer.text).series - series <= {
        sample for sample in Page.of(answer.text).series if ("route", "/metrics") in sample[1]
    }


def test_the_page_has_a_format_that_the_client_accepts(api: Api) -> None:
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
def test_the_page_has_the_format_that_the_client_prefers(api: Api, accept: str, kind: str) -> None:
    answer = api.request("GET", "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


def test_names_of_metrics_follow_the_conventions_of_prometheus(ann: Caller) -> None:
    ann.create()
    for family in scrape(ann.api).families:
        assert family.documentation.endswith(".")
        assert family.name.startswith(("eventapi_", "process_"))
        names = {sample.name for sample in family.samples}
        assert family.type in {"counter", "gauge", "histogram"}
        assert all(name.endswith("_total") for name in names) == (family.type == "counter")
        if "seconds" in family.name:
            assert family.name.endswith("_seconds")


def test_metrics_are_served_under_every_prefix_and_to_head(api: Api, prefix: str) -> None:
    assert api.request("GET", f"{prefix}/metrics").text.startswith("# HELP ")
    head = api.request("HEAD", f"{prefix}/metrics")
    assert (head.status_code, head.text) == (200, "")


def test_metrics_are_not_rate_limited() -> None:
    with Api(quiet_settings(rate_limit="1/minute")) as api:
        for prefix in PREFIXES * 2:
            assert api.request("GET", f"{prefix}/metrics").status_code == 200


def test_without_metrics_the_page_is_a_404() -> None:
    with Api(quiet_settings(metrics="off")) as api:
        assert_problem(api.request("GET", "/metrics"), 404, "not-found")
        assert api.caller().get("/items").status_code == 200


def test_rate_limited_requests_are_counted_by_limit() -> None:
    with Api(quiet_settings(rate_limit="4/minute", rate_limit_login="2/minute")) as api:
        for _ in range(3):
            api.login("nobody")
        for _ in range(3):
            api.request("GET", "/items")
        page = scrape(api)
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
    assert login_outcomes(new_api) == {"succeeded": 2, "refused": 2, "malformed": 1}


def login_outcomes(api: Api) -> dict[str, float]:
    """The outcomes of logins that were counted, by the outcomes that the page has."""
    found = {
        dict(labels)["outcome"]: value
        for (name, labels), value in scrape(api).samples.items()
        if name == "eventapi_logins_total"
    }
    assert found.keys() == {
        *("succeeded", "second_factor", "refused", "disabled", "unverified", "limited"),
        *("malformed", "failed"),
    }
    return {outcome: value for outcome, value in found.items() if value}


def test_logins_with_a_second_factor_are_counted(new_api: Api) -> None:
    ann = Guarded(new_api)
    assert ann.finish("000000").status_code == 401
    assert ann.finish(ann.recovery_codes[0]).status_code == 200
    assert login_outcomes(new_api) == {"succeeded": 2, "second_factor": 2, "refused": 1}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_logins_of_disabled_and_unverified_users_are_counted_apart(prefix: str) -> None:
    with Api(quiet_settings(require_verified_email="on")) as api:
        for name in ("ann", "bob"):
            assert api.register(name).status_code == 200
        api.execute(DisableUser("bob", OPERATOR))
        for name in ("ann", "bob"):
            body = {"username": name, "password": PASSWORD}
            assert api.request("POST", f"{prefix}/auth/login", json=body).status_code == 403
        assert login_outcomes(api) == {"unverified": 1, "disabled": 1}


def test_closed_segments_of_a_log_in_files_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed, "LINES_PER_FRAME", 2)
    log = JsonlLog(tmp_path / "events.jsonl")
    with Api(quiet_settings(segment_bytes=0), log=log) as api:
        ann = api.caller()
        for name in ("eventapi_log_segments", "eventapi_log_closed_bytes"):
            assert scrape(api).value(name) == 0.0
        size = log.path.stat().st_size
        ann.create()
        assert api.run(close_segments(log, 1, 5))
        ann.create()
        page = scrape(api)
        assert page.value("eventapi_log_segments") == len(closed_segments(log.path)) == 1
        assert page.value("eventapi_log_closed_bytes") == size


def test_writes_and_the_state_of_the_worker_are_measured(new_api: Api) -> None:
    ann = new_api.caller()
    for _ in range(3):
        ann.create()
    page = scrape(new_api)
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
    assert scrape(new_api).value("eventapi_sessions") == 0.0


def test_delayed_mails_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MailTasks, "delayed", 3)
    with Api() as api:
        assert scrape(api).value("eventapi_mails_delayed") == 3.0


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StorageFull("no room"), "full"),
        (LogFenced("a sync failed"), "fenced"),
        (LogUnavailable("no lock"), "unavailable"),
        (OSError(5, "an error"), "unavailable"),
    ],
)
def test_failed_appends_are_counted_by_reason(
    failure: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os._exit", lambda _: None)
    log = FailingLog()

    with Api(log=log) as api:
        ann = api.caller()
        log.failure = failure
        assert ann.post("/items", json={"title": "a"}).status_code >= 500
        page = scrape(api)
    name = "eventapi_log_append_failures_total"

    assert page.value(name, reason=reason) == page.total(name) == 1.0
    assert page.value("eventapi_log_append_seconds_count") == 2.0


def test_each_app_in_a_process_has_its_own_metrics() -> None:
    with Api() as one, Api() as another:
        one.request("GET", "/items")

        assert requests(scrape(one), "GET", "/items", 401) == 1.0
        assert requests(scrape(another), "GET", "/items", 401) is None


def test_metrics_start_once_their_files_can_be_created(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that starts on a full disk serves, and counts from then on."""
    no_room = OSError(errno.ENOSPC, "No space left on device")
    tries = iter([no_room, no_room, None])
    make = MetricsStore.__init__

    def fail_at_first(store: MetricsStore, root: Path, instance: str) -> None:
        if (error := next(tries, None)) is not None:
            raise error
        make(store, root, instance)

    monkeypatch.setattr(MetricsStore, "__init__", fail_at_first)
    monkeypatch.setattr(observing, "RETRY_SECONDS", 0.05)

    with Api() as api:
        ann = api.caller()
        assert_problem(api.request("GET", "/metrics"), 404, "not-found")
        while api.request("GET", "/metrics").status_code == 404:
            api.run(asyncio.sleep(0.01))
        before = scrape(api)
        ann.create()
        page = scrape(api)

    assert page.value("eventapi_workers") == 1.0
    assert page.value("eventapi_journal_write_seconds_count") == 1.0
    assert page.value("eventapi_log_appended_events_total") == 1.0
    assert requests(page, "POST", "/items", 200) == 1.0
    assert requests(before, "POST", "/items", 200) is None


@pytest.mark.long
def test_the_store_has_room_for_every_possible_series(
    tmp_path: Path, routes: list[tuple[str, str]]
) -> None:
    statuses = {200, 201, 204, 304, 0, *(kind.status for kind in PROBLEMS.values())}
    served: list[tuple[str, str | None]] = [(method, path) for path, method in routes]
    served += [(method, None) for method in (*METHODS, OTHER_METHOD)]
    assert len(served) > 150
    with meters_unless_full(tmp_path, "1") as meters:
        assert isinstance(meters, Meters)
        for (method, route), status in itertools.product(served, statuses):
            meters.count_request(method, route, status, 0.001)
        page = Page(meters.store.collect())

    expected = len(served) * len(statuses)
    assert page.total(REQUESTS) == page.total(f"{DURATIONS}_count") == expected
