"""Sessions: refreshed, listed, ended; what ends is over at once."""

from __future__ import annotations

import time

import httpx
import pytest

from eventapi.commands import sessions
from eventapi.http.routes import accounts as auth
from eventapi.journal.clock import LogClock
from eventapi.security.tokens import RefreshClaims, Tokens
from eventapi.values.times import SKEW_SECONDS, time_of
from tests.eventapi.http.client import SECRET, Api, Caller, assert_problem


def refresh(api: Api, token: str, prefix: str = "") -> httpx.Response:
    return api.request("POST", f"{prefix}/auth/refresh", json={"refresh_token": token})


def is_in(api: Api, token: str) -> bool:
    """Whether an access token is good."""
    answer = api.request("GET", "/auth/me", token=token)
    if answer.status_code != 200:
        assert_problem(answer, 401, "unauthenticated")
    return answer.status_code == 200


def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the ten seconds, and the skew, were over."""
    monkeypatch.setattr(sessions, "GRACE_SECONDS", -1 - SKEW_SECONDS)


def test_a_refresh_gives_what_a_login_gives(api: Api, ann: Caller, prefix: str) -> None:
    answer = refresh(api, ann.tokens["refresh_token"], prefix)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["event-position"])
    tokens = answer.json()
    assert tokens.keys() == ann.tokens.keys()
    assert tokens["refresh_token"] != ann.tokens["refresh_token"]
    assert is_in(api, tokens["access_token"])
    assert is_in(api, ann.token), "the session goes on"


def test_refresh_tokens_are_good_one_after_another(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_grace(monkeypatch)
    tokens = ann.tokens
    for _ in range(5):
        answer = refresh(api, tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
    assert is_in(api, tokens["access_token"])


def test_two_tabs_that_race_get_the_same_successor(api: Api, ann: Caller) -> None:
    body = {"json": {"refresh_token": ann.tokens["refresh_token"]}}
    answers = api.together([("POST", "/auth/refresh", body)] * 4)
    assert [answer.status_code for answer in answers] == [200] * 4
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert all(is_in(api, answer.json()["access_token"]) for answer in answers)
    assert refresh(api, successor).status_code == 200


def test_a_spent_token_that_comes_again_ends_its_whole_session(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = api.login(ann.name).json()
    renewed = refresh(api, ann.tokens["refresh_token"]).json()
    no_grace(monkeypatch)
    answer = refresh(api, ann.tokens["refresh_token"])
    assert_problem(answer, 401, "unauthenticated")
    assert not is_in(api, ann.token)
    assert not is_in(api, renewed["access_token"])
    assert_problem(refresh(api, renewed["refresh_token"]), 401, "unauthenticated")
    assert is_in(api, other["access_token"]), "another session goes on"


def test_a_token_before_the_last_spent_one_has_no_grace(api: Api, ann: Caller) -> None:
    second = refresh(api, ann.tokens["refresh_token"]).json()
    assert refresh(api, second["refresh_token"]).status_code == 200
    assert_problem(refresh(api, ann.tokens["refresh_token"]), 401, "unauthenticated")
    assert not is_in(api, ann.token)


def test_whoever_makes_a_token_up_ends_nobodys_session(api: Api, ann: Caller) -> None:
    session, generation, secret = ann.tokens["refresh_token"].split(".")
    stranger = Tokens(["another " + SECRET], 60)
    made_up = [
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
    for token in made_up:
        assert_problem(refresh(api, token), 401, "unauthenticated")
    assert is_in(api, ann.token)
    assert refresh(api, ann.tokens["refresh_token"]).status_code == 200


def test_a_token_of_the_future_is_refused(api: Api, ann: Caller) -> None:
    """It is genuine where a log was put back from an older backup."""
    session = ann.tokens["refresh_token"].split(".")[0]
    token = Tokens([SECRET], 60).refresh_token(RefreshClaims(session, 7))
    assert_problem(refresh(api, token), 401, "unauthenticated")
    assert is_in(api, ann.token)


def test_a_refresh_token_is_no_access_token(api: Api, ann: Caller) -> None:
    assert not is_in(api, ann.tokens["refresh_token"])


def test_an_expired_session_cannot_be_refreshed(
    api: Api, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 31 * 86_400
    monkeypatch.setattr(LogClock, "now", lambda _: time_of(time.time() + days))
    assert_problem(refresh(api, ann.tokens["refresh_token"]), 401, "unauthenticated")
    assert ann.get("/auth/sessions").json() == []


@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, {"refresh_token": "x", "x": 1}])
def test_a_refresh_of_another_shape_is_refused(api: Api, body: object) -> None:
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
        json={"username": ann.name, "password": "correct horse battery staple"},
        headers={"user-agent": "a browser"},
    ).json()
    listed = ann.under(prefix).get("/auth/sessions").json()
    assert [one["id"] for one in listed] == [
        tokens["refresh_token"].split(".")[0] for tokens in (newer, ann.tokens)
    ]
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


def test_the_newest_of_many_sessions_are_listed(
    api: Api, ann: Caller, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MAX_SESSIONS", 2)
    newer = [api.login(ann.name).json()["refresh_token"].split(".")[0] for _ in range(3)]
    listed = ann.under(prefix).get("/auth/sessions").json()
    assert [one["id"] for one in listed] == newer[:0:-1]


def test_one_session_is_ended_from_another(api: Api, ann: Caller, prefix: str) -> None:
    other = api.login(ann.name).json()
    number = other["refresh_token"].split(".")[0]
    answer = ann.under(prefix).request("DELETE", f"/auth/sessions/{number}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert int(answer.headers["event-position"])
    assert not is_in(api, other["access_token"])
    assert_problem(refresh(api, other["refresh_token"]), 401, "unauthenticated")
    assert is_in(api, ann.token)
    assert_problem(ann.request("DELETE", f"/auth/sessions/{number}"), 404, "not-found")


def test_nobody_ends_or_sees_the_session_of_another(api: Api, ann: Caller, bob: Caller) -> None:
    number = bob.tokens["refresh_token"].split(".")[0]
    theirs = ann.request("DELETE", f"/auth/sessions/{number}")
    nobodys = ann.request("DELETE", f"/auth/sessions/{'0' * 32}")
    for answer in (theirs, nobodys):
        assert_problem(answer, 404, "not-found")
    assert is_in(api, bob.token)
    assert number not in ann.get("/auth/sessions").text


def test_all_sessions_end_with_one_event(api: Api, ann: Caller, bob: Caller) -> None:
    other = api.login(ann.name).json()
    before = api.log.position
    assert ann.request("DELETE", "/auth/sessions").status_code == 204
    assert api.log.position == before + 1
    assert not is_in(api, ann.token)
    assert not is_in(api, other["access_token"])
    assert_problem(refresh(api, other["refresh_token"]), 401, "unauthenticated")
    assert is_in(api, bob.token)
