"""The table of sessions: given events, then the sessions."""

from __future__ import annotations

import pytest

from eventapi.testing.given import at, registered, started, state_of
from events.record import Event
from events.vocabulary.sessions import EndReason, SessionEnded, SessionRefreshed, SessionStarted
from events.vocabulary.users import UserErased
from projections.tables.sessions import Session

ANN = registered(1, "ann")


def test_a_started_session_knows_its_user_and_device() -> None:
    state = state_of(ANN, started("s1", 1))
    assert state.sessions.by_id["s1"] == Session(
        "s1", 1, "secret of s1", "::1", "curl", at(2), at(9_000), 2
    )
    assert state.sessions.ids_by_user[1] == {"s1"}


def test_session_with_an_unreadable_device_is_valid() -> None:
    event = SessionStarted(1, at(9_000), "secret", personal=None)
    session = state_of(ANN, ("sessions/s1", event)).sessions.by_id["s1"]
    assert (session.address, session.user_agent) == (None, None)


def test_a_refreshed_session_has_another_secret_and_lasts_longer() -> None:
    refreshed = ("sessions/s1", SessionRefreshed(at(9_999), "next"))
    session = state_of(ANN, started("s1", 1), refreshed).sessions.by_id["s1"]
    assert (session.refresh_hash, session.expires_at, session.version) == ("next", at(9_999), 3)
    assert (session.started_at, session.user) == (at(2), 1)


@pytest.mark.parametrize("reason", ["logout", "revoked", "reuse"])
def test_an_ended_session_is_gone_for_whatever_reason(reason: EndReason) -> None:
    ended = ("sessions/s1", SessionEnded(reason))
    state = state_of(ANN, started("s1", 1), started("s2", 1), ended)
    assert set(state.sessions.by_id) == {"s2"}
    assert state.sessions.ids_by_user == {1: {"s2"}}


def test_a_user_without_sessions_leaves_nothing_in_the_index() -> None:
    ended = ("sessions/s1", SessionEnded("logout"))
    assert not state_of(ANN, started("s1", 1), ended).sessions.ids_by_user


def test_erasing_a_user_ends_only_that_users_sessions() -> None:
    state = state_of(
        ANN, registered(2, "bob"), started("s1", 1), started("s2", 2), ("users/1", UserErased())
    )
    assert set(state.sessions.by_id) == {"s2"}


@pytest.mark.parametrize(
    "event",
    [SessionRefreshed(at(9_999), "next"), SessionEnded("logout")],
    ids=lambda event: event.type,
)
def test_event_of_an_ended_session_changes_no_session(event: Event) -> None:
    before = state_of(ANN, started("s1", 1))
    state = state_of(ANN, started("s1", 1), ("sessions/s7", event))
    assert state.sessions.by_id == before.sessions.by_id


def test_end_everywhere_ends_all_sessions_of_the_user() -> None:
    ended = ("sessions/s1", SessionEnded("revoked", everywhere=True))
    story = (ANN, registered(2, "bob"), started("s1", 1), started("s2", 1), started("s3", 2))
    assert set(state_of(*story, ended).sessions.by_id) == {"s3"}
