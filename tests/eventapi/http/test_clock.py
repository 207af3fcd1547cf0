"""Clocks over HTTP: different clocks, clocks that jump, and long sessions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import msgspec
import pytest

from eventapi.bootstrap.storage import SYSTEM
from eventapi.commands import sessions
from eventapi.http import authenticated_request
from eventapi.values.times import seconds_of, time_of
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import SECRET, Api, Caller, assert_problem, quiet_settings
from tests.eventapi.journal.clock_machine import DAY, HOUR, Machine


class Site:
    """Instances over one log, each on a machine with its own clock."""

    def __init__(self) -> None:
        self.log, self.vault = MemoryLog(), MemoryVault()
        self.machines: list[Machine] = []

    @contextmanager
    def instance(self, skew: float = 0.0, **given: Any) -> Iterator[Api]:
        machine = Machine(skew)
        self.machines.append(machine)
        environment = msgspec.structs.replace(
            SYSTEM, now=lambda: time_of(machine.wall), uptime=lambda: machine.seconds_up
        )
        settings = quiet_settings(**given)
        with Api(settings, log=self.log, vault=self.vault, environment=environment) as api:
            yield api

    def advance(self, seconds: float) -> None:
        """Advance the clocks of all machines."""
        for machine in self.machines:
            machine.passes(seconds)


@pytest.fixture
def site() -> Site:
    return Site()


def refresh(api: Api, token: str) -> httpx.Response:
    return api.request("POST", "/auth/refresh", json={"refresh_token": token})


def catch_up(*instances: Api) -> None:
    """Let instances apply the events of others, as their background task does."""
    for api in instances:
        assert api.request("GET", "/health/ready").status_code == 200


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    return found


# Instances with different clocks

SKEWS = pytest.mark.parametrize("skew", [-60.0, 3.0, 60.0])


@SKEWS
def test_a_token_is_valid_on_an_instance_with_another_clock(site: Site, skew: float) -> None:
    with site.instance() as one, site.instance(skew) as other:
        for first, second in ((one, other), (other, one)):
            ann = first.caller()
            assert second.request("GET", "/auth/me", token=ann.token).status_code == 200
            renewed = refresh(second, ann.tokens["refresh_token"]).json()
            assert first.request("GET", "/auth/me", token=renewed["access_token"]).is_success


def test_a_token_may_be_issued_in_the_future_within_the_clock_skew(site: Site) -> None:
    with site.instance() as api:
        ann = api.caller()
        claims = claims_of(ann.token)
        for ahead, status in ((0, 200), (3, 200), (60, 200), (62, 401)):
            token = jwt.encode(claims | {"iat": claims["iat"] + ahead}, SECRET, algorithm="HS256")
            assert api.request("GET", "/auth/me", token=token).status_code == status


@SKEWS
@pytest.mark.parametrize("spent_at", ["one", "other"])
def test_a_spent_refresh_token_is_detected_on_an_instance_with_another_clock(
    site: Site, skew: float, spent_at: str
) -> None:
    with site.instance() as one, site.instance(skew) as other:
        first, second = (one, other) if spent_at == "one" else (other, one)
        for after in (12, 15, 35, 55, 600):
            ann = first.caller()
            renewed = refresh(first, ann.tokens["refresh_token"]).json()
            catch_up(second)
            site.advance(after)
            answer = refresh(second, ann.tokens["refresh_token"])
            assert_problem(answer, 401, "unauthenticated")
            assert not first.request("GET", "/auth/me", token=renewed["access_token"]).is_success
            assert_problem(refresh(first, renewed["refresh_token"]), 401, "unauthenticated")


@SKEWS
@pytest.mark.parametrize("spent_at", ["one", "other"])
def test_concurrent_refreshes_succeed_on_instances_with_different_clocks(
    site: Site, skew: float, spent_at: str
) -> None:
    with site.instance() as one, site.instance(skew) as other:
        first, second = (one, other) if spent_at == "one" else (other, one)
        ann = first.caller()
        successor = refresh(first, ann.tokens["refresh_token"]).json()["refresh_token"]
        catch_up(second)
        site.advance(2)

        answer = refresh(second, ann.tokens["refresh_token"])

        assert answer.status_code == 200
        assert answer.json()["refresh_token"] == successor


def test_control_without_the_skew_a_concurrent_refresh_logs_the_user_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SKEW_SECONDS", 0)
    with pytest.raises(AssertionError):
        test_concurrent_refreshes_succeed_on_instances_with_different_clocks(site, 60.0, "one")


def test_times_of_events_never_decrease_although_clocks_differ(site: Site) -> None:
    with site.instance() as one, site.instance(60.0) as other:
        ann = one.caller()
        bob = other.caller()
        for _ in range(3):
            ann.create()
            site.advance(1)
            bob.create()
            site.advance(1)

        times = [item["created_at"] for item in (*ann.get("/items").json(),)]
        lines = [seconds_of(time) for time in times]

        assert lines == sorted(lines)
        assert lines[-1] - lines[0] > 3.9, "the times do not advance"


# Jumps


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, 10 * 365 * DAY, -10 * 365 * DAY])
def test_after_a_jump_of_the_clock_writes_are_refused_and_no_token_is_spent(
    site: Site, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    with site.instance() as api:
        ann = api.caller()
        number, before = ann.create(), api.log.position
        site.machines[0].wall += jump
        assert ann.get(f"/items/{number}").status_code == 200
        assert len(ann.get("/auth/sessions").json()) == 1
        assert api.request("GET", "/health/ready").status_code == 200
        for answer in (
            ann.post("/items", json={"title": "later"}),
            ann.delete(f"/items/{number}"),
            refresh(api, ann.tokens["refresh_token"]),
            api.login(ann.name),
            api.register("new-one"),
        ):
            problem = assert_problem(answer, 503, "log-unavailable")
            assert "The clock of this machine jumped" in problem["detail"]
            assert "nothing was lost" in problem["detail"]
            assert "--accept-clock" in problem["detail"]
            assert answer.headers["retry-after"]
        assert api.log.position == before
        page = api.request("GET", "/metrics").text
        assert "eventapi_clock_refuses_writes 1.0" in page
        (drift,) = [line for line in page.splitlines() if line.startswith("eventapi_clock_drift_")]
        assert float(drift.split()[1]) == pytest.approx(-jump, abs=1)
        assert (
            sum(
                "jumped" in record.message
                for record in caplog.records
                if record.name == "eventapi.journal"
            )
            == 1
        )

        site.machines[0].wall -= jump
        assert ann.create() > number
        assert refresh(api, ann.tokens["refresh_token"]).status_code == 200
        assert "eventapi_clock_refuses_writes 0.0" in api.request("GET", "/metrics").text
        assert seconds_of(ann.get("/items").json()[-1]["created_at"]) < site.machines[0].wall + 1


# Sessions that last long


def test_a_session_ends_after_session_days_in_spite_of_refreshes(site: Site) -> None:
    with site.instance(refresh_token_days=30, session_days=100) as api:
        ann = api.caller()
        token = ann.tokens["refresh_token"]
        for _ in range(4):
            site.advance(24 * DAY)
            answer = refresh(api, token)
            assert answer.status_code == 200
            token = answer.json()["refresh_token"]
        (listed,) = Caller(api, ann.name, answer.json()).get("/auth/sessions").json()
        assert seconds_of(listed["expires_at"]) == pytest.approx(
            seconds_of(listed["started_at"]) + 100 * DAY, abs=1
        )

        site.advance(4 * DAY + 1)
        assert_problem(refresh(api, token), 401, "unauthenticated")


def test_a_shorter_session_days_ends_older_sessions_at_their_next_refresh(site: Site) -> None:
    with site.instance(session_days=365) as api:
        ann = api.caller()
        token = refresh(api, ann.tokens["refresh_token"]).json()["refresh_token"]
    site.machines.clear()
    with site.instance(2 * DAY, session_days=1) as api:
        assert_problem(refresh(api, token), 401, "unauthenticated")


def test_an_access_token_expires_with_its_session(site: Site) -> None:
    minutes = 60 * 24 * 2
    with site.instance(access_token_minutes=minutes, refresh_token_days=1) as api:
        ann = api.caller()
        claims = claims_of(ann.token)
        assert claims["exp"] - claims["iat"] == ann.tokens["expires_in"] <= DAY
        site.advance(DAY - 2)
        assert ann.get("/auth/me").status_code == 200
        site.advance(2)
        assert_problem(ann.get("/auth/me"), 401, "unauthenticated")


def test_a_valid_token_of_an_expired_session_is_refused(site: Site) -> None:
    """An earlier version, or a longer setting, may have issued it."""
    with site.instance(refresh_token_days=1) as api:
        ann = api.caller()
        claims = claims_of(ann.token)
        token = jwt.encode(claims | {"exp": 2**33}, SECRET, algorithm="HS256")
        assert api.request("GET", "/auth/me", token=token).status_code == 200

        site.advance(DAY)
        before = api.log.position
        assert_problem(api.request("GET", "/auth/me", token=token), 401, "unauthenticated")
        assert api.log.position == before


# A position that a client requires


@pytest.mark.parametrize("wanted", [2_000_000, 999_999_999, 130_095_627_095, 9 * 10**18])
def test_a_position_far_beyond_the_log_is_refused_without_a_wait(
    ann: Caller, wanted: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        authenticated_request, "_WAIT_STEP_SECONDS", 3_600
    )  # The client would time out.

    with caplog.at_level(logging.INFO, "eventapi"):
        answer = ann.get("/items", headers={"min-event-position": str(wanted)})
    problem = assert_problem(answer, 503, "log-unavailable")

    assert f"reached position {ann.api.log.position}" in problem["detail"]
    assert str(wanted) in problem["detail"]
    assert answer.headers["retry-after"]
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_position_that_is_not_reached_logs_no_error(
    ann: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    future = {"min-event-position": str(ann.api.log.position + 1)}

    problem = assert_problem(ann.get("/items", headers=future), 503, "log-unavailable")

    assert f"reached position {ann.api.log.position}" in problem["detail"]
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
@pytest.mark.parametrize("wanted", ["999999999", "1000", "x"])
def test_health_ignores_a_required_position(api: Api, path: str, wanted: str) -> None:
    answer = api.request("GET", path, headers={"min-event-position": wanted})
    assert answer.status_code == 200
