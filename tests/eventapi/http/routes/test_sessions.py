"""Sessions: refreshed, listed and ended, which takes effect at once."""

from __future__ import annotations

import time

import httpx
import pytest

from eventapi.commands import sessions
from eventapi.http.routes import accounts as auth
from eventapi.journal.clock import LogClock
from eventapi.security.tokens import RefreshClaims, Tokens
from eventapi.values.times import SKEW_SECONDS, time_of
from tests.eventapi.http.client import (
    SECRET,
    Api,
    Caller,
    assert_problem,
    credentials,
    session_id_of,
)


def refresh(api: Api, token: str, prefix: str = "") -> httpx.Response:
    return api.request("POST", f"{prefix}/auth/refresh", json={"refresh_token": token})


def is_accepted(api: Api, token: str) -> bool:
    """Whether the server accepts an access token."""
    answer = api.request("GET", "/auth/me", token=token)
    if answer.status_code != 200:
        assert_problem(answer, 401, "unauthenticated")
    return answer.status_code == 200


def end_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept no spent refresh token, as after the grace period and the clock skew."""
    monkeypatch.setattr(sessions, "GRACE_SECONDS", -1 - SKEW_SECONDS)


def test_a_refresh_returns_the_same_members_as_a_login(api: Api, ann: Caller, prefix: str) -> None:
    answer = refresh(api, ann.tokens["refresh_token"], prefix)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["event-position"])

    tokens = answer.json()
    assert tokens.keys() == ann.tokens.keys()
    assert tokens["refresh_token"] != ann.tokens["refresh_token"]
    assert is_accepted(api, tokens["access_token"])
    assert is_accepted(api, ann.token), "the first access token is still valid"


def test_each_refresh_token_can_be_refreshed_in_turn(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_grace_period(monkeypatch)
    tokens = ann.tokens

    for _ in range(5):
        answer = refresh(api, tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        tokens = answer.json()

    assert is_accepted(api, tokens["access_token"])


def test_concurrent_refreshes_return_the_same_refresh_token(api: Api, ann: Caller) -> None:
    body = {"json": {"refresh_token": ann.tokens["refresh_token"]}}
    answers = api.request_all([("POST", "/auth/refresh", body)] * 4)
    assert [answer.status_code for answer in answers] == [200] * 4

    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert all(is_accepted(api, answer.json()["access_token"]) for answer in answers)
    assert refresh(api, successor).status_code == 200


def test_a_reused_refresh_token_ends_its_session(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = api.login(ann.name).json()
    renewed = refresh(api, ann.tokens["refresh_token"]).json()
    end_grace_period(monkeypatch)

    answer = refresh(api, ann.tokens["refresh_token"])

    assert_problem(answer, 401, "unauthenticated")
    assert not is_accepted(api, ann.token)
    assert not is_accepted(api, renewed["access_token"])
    assert_problem(refresh(api, renewed["refresh_token"]), 401, "unauthenticated")
    assert is_accepted(api, other["access_token"]), "another session does not end"


def test_only_the_last_spent_refresh_token_has_a_grace_period(api: Api, ann: Caller) -> None:
    second = refresh(api, ann.tokens["refresh_token"]).json()

    assert refresh(api, second["refresh_token"]).status_code == 200
    assert_problem(refresh(api, ann.tokens["refresh_token"]), 401, "unauthenticated")
    assert not is_accepted(api, ann.token)


def test_a_forged_refresh_token_ends_no_session(api: Api, ann: Caller) -> None:
    session, generation, secret = ann.tokens["refresh_token"].split(".")
    stranger = Tokens(["another " + SECRET], 60)
    forged = [
        f"{session}.{generation}.{'0' * 64}",
        f"{session}.{generation}.{secret.upper()}",
        f"{session}.1.{secret}",
        f"{session}.0{generation}.{secret}",
        f"{session}.{generation}.{secret}\n",
        f" {session}.{generation}.{secret}",
        f"{'0' * 32}.{generation}.{secret}",
        f"{session}.{secret}",
        stranger.refresh_token(RefreshClaims(session, 0)),
        ann.token,
        "",
        "..",
        "é",
    ]

    for token in forged:
        assert_problem(refresh(api, token), 401, "unauthenticated")
    assert is_accepted(api, ann.token)
    assert refresh(api, ann.tokens["refresh_token"]).status_code == 200


def test_a_refresh_token_of_a_future_generation_is_refused(api: Api, ann: Caller) -> None:
    """A client can have one after the log was restored from an older backup."""
    token = Tokens([SECRET], 60).refresh_token(RefreshClaims(ann.session_id, 7))

    assert_problem(refresh(api, token), 401, "unauthenticated")
    assert is_accepted(api, ann.token)


def test_a_refresh_token_is_not_accepted_as_an_access_token(api: Api, ann: Caller) -> None:
    assert not is_accepted(api, ann.tokens["refresh_token"])


def test_an_expired_session_cannot_be_refreshed(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 31 * 86_400
    monkeypatch.setattr(LogClock, "now", lambda _: time_of(time.time() + days))

    assert_problem(refresh(api, ann.tokens["refresh_token"]), 401, "unauthenticated")
    assert ann.get("/auth/sessions").json() == []


@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, {"refresh_token": "x", "x": 1}])
def test_an_invalid_refresh_body_is_refused(api: Api, body: object) -> None:
    answer = api.request("POST", "/api/v2/auth/refresh", json=body)
    assert_problem(answer, 422, "validation-failed")


def test_version_1_ignores_unknown_members_of_a_refresh(api: Api, ann: Caller) -> None:
    body = {"refresh_token": ann.tokens["refresh_token"], "x": 1}
    assert api.request("POST", "/auth/refresh", json=body).status_code == 200
    for wrong in ({"x": 1}, {"refresh_token": 1, "x": 1}):
        answer = api.request("POST", "/auth/refresh", json=wrong)
        assert_problem(answer, 422, "validation-failed")


def test_sessions_are_listed_newest_first(api: Api, ann: Caller, prefix: str) -> None:
    newer = api.request(
        "POST",
        "/auth/login",
        json=credentials(ann.name),
        headers={"user-agent": "a browser"},
    ).json()

    listed = ann.under(prefix).get("/auth/sessions").json()

    assert [one["id"] for one in listed] == [session_id_of(newer), ann.session_id]
    assert [one["current"] for one in listed] == [False, True]
    assert listed[0]["user_agent"] == "a browser"
    assert listed[0].keys() == {
        "id",
        "started_at",
        "expires_at",
        "address",
        "user_agent",
        "current",
    }
    assert listed[0]["started_at"] < listed[0]["expires_at"]


def test_a_list_of_many_sessions_has_the_newest(
    api: Api, ann: Caller, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MAX_SESSIONS", 2)
    newer = [session_id_of(api.login(ann.name).json()) for _ in range(3)]

    listed = ann.under(prefix).get("/auth/sessions").json()

    assert [one["id"] for one in listed] == newer[:0:-1]


def test_a_session_can_end_another_session_of_its_user(api: Api, ann: Caller, prefix: str) -> None:
    other = api.login(ann.name).json()
    session = session_id_of(other)

    answer = ann.under(prefix).delete(f"/auth/sessions/{session}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert int(answer.headers["event-position"])
    assert not is_accepted(api, other["access_token"])
    assert_problem(refresh(api, other["refresh_token"]), 401, "unauthenticated")
    assert is_accepted(api, ann.token)
    assert_problem(ann.delete(f"/auth/sessions/{session}"), 404, "not-found")


def test_a_user_neither_ends_nor_sees_sessions_of_another_user(
    api: Api, ann: Caller, bob: Caller
) -> None:
    of_bob = ann.delete(f"/auth/sessions/{bob.session_id}")
    unknown = ann.delete(f"/auth/sessions/{'0' * 32}")

    for answer in (of_bob, unknown):
        assert_problem(answer, 404, "not-found")
    assert is_accepted(api, bob.token)
    assert bob.session_id not in ann.get("/auth/sessions").text


def test_one_event_ends_all_sessions_of_a_user(api: Api, ann: Caller, bob: Caller) -> None:
    other = api.login(ann.name).json()
    before = api.log.position

    assert ann.delete("/auth/sessions").status_code == 204
    assert api.log.position == before + 1
    assert not is_accepted(api, ann.token)
    assert not is_accepted(api, other["access_token"])
    assert_problem(refresh(api, other["refresh_token"]), 401, "unauthenticated")
    assert is_accepted(api, bob.token)
