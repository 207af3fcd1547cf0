"""Failures of the server: a problem for the client, the reason in the log."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from eventapi.commands.resources import Create
from eventapi.http.routes import writes
from events.errors import LogFenced, LogUnavailable, StorageFull, VaultUnavailable
from tests.eventapi.http.client import PASSWORD, SECRET, Api, Caller, assert_problem
from tests.eventapi.http.logs import FailingLog


class BrokenError(Exception):
    """An unforeseen error."""


def broken(*_: object) -> Create:
    """A command that cannot be made, for an unforeseen reason."""
    raise BrokenError("the disk of the moon is full")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A user of an app whose handler cannot make its command."""
    monkeypatch.setattr(writes, "Create", broken)
    with Api() as api:
        yield api.caller("unlucky")


def test_an_unforeseen_error_is_a_500_without_details(
    failing: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = failing.post(
            "/items", json={"title": "a personal title"}, headers={"x-request-id": "the-one"}
        )
    problem = assert_problem(answer, 500, "internal-error")
    assert problem["request_id"] == "the-one"
    assert "moon" not in answer.text
    assert "Broken" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"

    logged = [record for record in caplog.records if getattr(record, "request_id", "") == "the-one"]
    assert len(logged) == 1
    assert logged[0].exc_info is not None
    assert logged[0].exc_info[0] is BrokenError
    for secret in (failing.token, PASSWORD, SECRET, "a personal title"):
        assert secret not in caplog.text


def test_an_error_outside_the_handlers_is_a_500_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BrokenError

    monkeypatch.setattr(api.edge, "asgi_handler", fail)

    answer = api.request("GET", "/items")

    assert_problem(answer, 500, "internal-error")
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("failure", "status", "slug"),
    [
        (StorageFull("no room in /secret/place"), 507, "storage-full"),
        (LogUnavailable("no lock on /secret/place"), 503, "log-unavailable"),
        (VaultUnavailable("no vault in /secret/place"), 503, "log-unavailable"),
        (OSError(5, "I/O error in /secret/place"), 503, "log-unavailable"),
    ],
)
def test_a_failed_write_is_reported_and_reads_are_answered(
    failure: Exception, status: int, slug: str
) -> None:
    log = FailingLog()
    with Api(log=log) as api:
        ann = api.caller()
        number = ann.create("before")
        log.failure = failure
        for method, path in (("POST", "/items"), ("PATCH", f"/items/{number}")):
            answer = ann.request(method, path, json={"title": "after"})
            assert_problem(answer, status, slug)
            assert ("retry-after" in answer.headers) == (status == 503)
            assert "/secret/place" not in answer.text
        assert [item["title"] for item in ann.get("/items").json()] == ["before"]
        log.failure = None
        assert ann.patch(f"/items/{number}", json={"title": "after"}).status_code == 200


def test_after_a_failed_sync_the_process_answers_and_exits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr("eventapi.bootstrap.process.FLUSH_SECONDS", 0)
    log = FailingLog()
    with Api(log=log) as api:
        ann = api.caller()
        log.failure = LogFenced("a sync failed")
        assert_problem(ann.post("/items", json={"title": "a"}), 503, "log-unavailable")
        ann.get("/items")
        assert codes == [os.EX_IOERR]
