"""While the log cannot be written, no answer reveals which addresses have an account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from eventapi.accounts import recovery
from eventapi.commands.command import Command
from eventapi.http.request_client import RequestClient
from eventapi.http.routes import mailed_links
from eventapi.journal.clock import LogClock
from eventapi.journal.queue import WriteQueue
from events.errors import (
    ClockJumped,
    EventapiError,
    LogFenced,
    LogUnavailable,
    LogUnreachable,
    Overloaded,
    StorageFull,
    VaultUnavailable,
)
from events.log.memory import MemoryLog
from events.log.port import Head
from tests.eventapi.http.client import Api, quiet_settings
from tests.eventapi.http.links import types
from tests.eventapi.http.logs import FailingLog
from tests.security.test_enumeration import (
    Ask,
    accounts,
    assert_alike,
    forgot,
    request_verification,
)

PREFIXES = ("/auth", "/api/v2/auth")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer at once: `tests.security.forgotten` measures the time."""
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)
    monkeypatch.setattr("os._exit", lambda _: None)
    monkeypatch.setattr("eventapi.bootstrap.process.FLUSH_SECONDS", 0)


class Log(FailingLog):
    """A log that may also fail only if there is something to append, as a database does."""

    failure_of_lines: Exception | None = None

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        if lines and self.failure_of_lines is not None:
            raise self.failure_of_lines
        await super().append(lines, head, revokes=revokes)


State = Callable[[Log, pytest.MonkeyPatch], None]
"""Brings a log into a state."""


def failing(error: EventapiError) -> State:
    """Every append fails, also one of no lines."""

    def change(log: Log, _: pytest.MonkeyPatch) -> None:
        log.failure = error

    return change


def failing_lines(error: EventapiError) -> State:
    """An append fails only if there are lines."""

    def change(log: Log, _: pytest.MonkeyPatch) -> None:
        log.failure_of_lines = error

    return change


def raising(place: type, name: str, error: EventapiError) -> State:
    """A method fails."""

    def change(_: Log, patch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        patch.setattr(place, name, fail)

    return change


def writable(_: Log, __: pytest.MonkeyPatch) -> None:
    """Everything works."""


STATES: dict[str, tuple[State, int]] = {
    "writable": (writable, 202),
    "full": (failing(StorageFull("no room")), 507),
    "unavailable": (failing(LogUnavailable("I/O error")), 503),
    "fenced": (failing(LogFenced("a sync failed")), 503),
    "locked": (raising(MemoryLog, "exclusive", LogUnavailable("not free")), 503),
    "unreachable": (raising(MemoryLog, "exclusive", LogUnreachable("no answer")), 503),
    "queue is full": (raising(WriteQueue, "add", Overloaded("too many writes")), 503),
    "clock jumped": (raising(LogClock, "check", ClockJumped("by hours")), 503),
    "full database": (failing_lines(StorageFull("no room")), 202),
    "commit is unknown": (failing_lines(LogUnavailable("unknown")), 202),
    "no key": (failing_lines(VaultUnavailable("no key")), 202),
}
"""Each state of the log, with the status of every answer."""


@contextmanager
def in_state(state: str) -> Iterator[tuple[Api, dict[str, str], int]]:
    """An app whose log comes into a state, names of accounts of each kind, and the status."""
    log = Log()
    change, status = STATES[state]
    with Api(quiet_settings(rate_limit_login="1000/minute"), log=log) as api:
        names = accounts(api)
        with pytest.MonkeyPatch.context() as patch:
            change(log, patch)
            yield api, names, status


@pytest.mark.parametrize("ask", [forgot, request_verification])
@pytest.mark.parametrize("state", STATES)
def test_no_state_of_the_log_reveals_an_address(state: str, ask: Ask) -> None:
    with in_state(state) as (api, names, status):
        for prefix in PREFIXES * 3:  # So many that mails are limited.
            answers = {kind: ask(api, prefix, name) for kind, name in names.items()}
            assert {answer.status_code for answer in answers.values()} == {status}
            assert_alike(answers)


@pytest.mark.parametrize("state", ["full", "full database"])
def test_control_without_the_check_a_full_log_reveals_an_address(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was: only a known address was written for, and the error was answered."""

    async def write(client: RequestClient, command: Command | None) -> None:
        if command is not None:
            await client.execute(command)

    async def check_nothing(_: RequestClient) -> None:
        pass

    monkeypatch.setattr(recovery, "_write_alike", write)
    monkeypatch.setattr(recovery, "check_log", check_nothing)
    with in_state(state) as (api, names, _):
        answers = {kind: forgot(api, "/auth", name) for kind, name in names.items()}
        assert (answers["known"].status_code, answers["unknown"].status_code) == (507, 202)
        with pytest.raises(AssertionError):
            assert_alike(answers)


def test_a_mail_that_could_not_be_requested_is_reported_to_the_operator_without_an_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with in_state("full database") as (api, names, _):
        before = len(types(api))
        forgot(api, "/auth", names["unknown"])
        assert not caplog.records
        forgot(api, "/auth", names["known"])
        assert types(api, before) == []
    (line,) = caplog.records
    assert "no room" in line.getMessage()
    assert names["known"] not in line.getMessage()


def test_requests_that_the_log_refuses_use_up_no_mail() -> None:
    with in_state("full") as (api, names, _):
        for _ in range(10):
            assert forgot(api, "/auth", names["known"]).status_code == 507
        log = api.log
        assert isinstance(log, Log)
        log.failure = None
        before = len(types(api))
        assert forgot(api, "/auth", names["known"]).status_code == 202
        assert types(api, before) == ["user.password_reset_requested"]


def test_a_user_who_is_logged_in_learns_that_the_log_is_full() -> None:
    """There is nothing to reveal, so a failure is reported."""
    with in_state("full database") as (api, _, __):
        log = api.log
        assert isinstance(log, Log)
        log.failure_of_lines = None
        caller = api.caller(prefix="/api/v2")
        log.failure_of_lines = StorageFull("no room")
        assert caller.post("/auth/email/verification").status_code == 507
