"""The rules of the commands about sessions."""

from __future__ import annotations

import pytest

from eventapi.commands.sessions import (
    EndSession,
    ExpireSession,
    Lifetime,
    RefreshSession,
    StartSession,
)
from eventapi.testing.given import Happened, at, given, registered, started
from events.errors import AccountDisabled, InvalidCredentials, NotFound, Unauthenticated
from events.vocabulary.sessions import (
    Device,
    EndReason,
    SessionEnded,
    SessionRefreshed,
    SessionStarted,
)
from events.vocabulary.users import (
    PasswordHash,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
)

ANN, BOB = registered(1, "ann"), registered(2, "bob")
DEVICE = Device("::1", "curl")
LIFETIME = Lifetime(unused=9_000, total=20_000)
LOGIN = StartSession(1, "hash of ann", "s1", "secret", LIFETIME, DEVICE)
STARTED = SessionStarted(1, at(9_100), "secret", personal=DEVICE)


def test_the_right_password_starts_a_session() -> None:
    decision = given(ANN).at(100).when(LOGIN).then("sessions/s1", STARTED)
    assert decision.actor == decision.sealedfor == "users/1"


def test_a_user_may_have_several_sessions() -> None:
    given(ANN, started("s0", 1)).at(100).when(LOGIN).then("sessions/s1", STARTED)


def test_password_changed_after_its_check_starts_no_session() -> None:
    changed = ("users/1", UserPasswordChanged("changed", personal=PasswordHash("other")))
    given(ANN, changed).when(LOGIN).refused(InvalidCredentials)


def test_disabled_user_learns_it_only_with_the_right_password() -> None:
    disabled = ("users/1", UserDisabled())
    given(ANN, disabled).when(LOGIN).refused(AccountDisabled)
    wrong = StartSession(1, "hash of another", "s1", "secret", LIFETIME, DEVICE)
    given(ANN, disabled).when(wrong).refused(InvalidCredentials)


def test_an_enabled_user_logs_in_again() -> None:
    story = (ANN, ("users/1", UserDisabled()), ("users/1", UserEnabled()))
    given(*story).at(100).when(LOGIN).then("sessions/s1", STARTED)


def test_an_unknown_and_an_erased_user_are_refused_like_a_wrong_password() -> None:
    unknown = given(BOB).when(LOGIN).refused(InvalidCredentials)
    erased = given(ANN, ("users/1", UserErased())).when(LOGIN).refused(InvalidCredentials)
    wrong = StartSession(1, "hash of another", "s1", "secret", LIFETIME, DEVICE)
    assert str(unknown) == str(erased)
    assert str(unknown) == str(given(ANN).when(wrong).refused(InvalidCredentials))


@pytest.mark.parametrize("reason", ["logout", "revoked", "reuse"])
def test_a_session_is_ended_by_its_user(reason: EndReason) -> None:
    decision = (
        given(ANN, started("s1", 1))
        .when(EndSession(1, "s1", reason))
        .then("sessions/s1", SessionEnded(reason))
    )
    assert (decision.actor, decision.sealedfor) == ("users/1", "")


@pytest.mark.parametrize(
    "story",
    [
        (ANN, BOB),
        (ANN, BOB, started("s1", 2)),
        (ANN, started("s1", 1), ("sessions/s1", SessionEnded("logout"))),
        (ANN, started("s1", 1), ("users/1", UserDisabled())),
        (ANN, started("s1", 1), ("users/1", UserErased())),
    ],
    ids=["unknown", "another's", "ended", "disabled", "erased"],
)
def test_a_session_that_is_not_the_callers_or_has_ended_cannot_be_ended(
    story: tuple[Happened, ...],
) -> None:
    refusal = given(*story).when(EndSession(1, "s1", "logout")).refused(NotFound)
    unknown = given().when(EndSession(1, "s1", "logout")).refused(NotFound)
    assert str(refusal) == str(unknown)


def spend(generation: int) -> RefreshSession:
    return RefreshSession("s1", generation, "new", LIFETIME)


FIRST = ("sessions/s1", SessionRefreshed(at(9_500), "first"))
SECOND = ("sessions/s1", SessionRefreshed(at(9_600), "second"))
REUSE = SessionEnded("reuse")


def test_a_refresh_token_is_spent_for_the_next_one() -> None:
    decision = (
        given(ANN, started("s1", 1))
        .at(100)
        .when(spend(0))
        .then("sessions/s1", SessionRefreshed(at(9_100), "new"))
    )
    assert (decision.actor, decision.sealedfor) == ("users/1", "")


def test_last_spent_token_is_accepted_for_a_short_time() -> None:
    again = SessionRefreshed(at(9_013), "first")
    given(ANN, started("s1", 1), FIRST).at(13).when(spend(0)).then("sessions/s1", again)
    given(ANN, started("s1", 1), FIRST).at(14).when(spend(0)).then("sessions/s1", REUSE)


def test_a_token_spent_before_that_ends_the_session_at_once() -> None:
    given(ANN, started("s1", 1), FIRST, SECOND).at(5).when(spend(0)).then("sessions/s1", REUSE)


def test_grace_period_does_not_restart_with_its_use() -> None:
    again = ("sessions/s1", SessionRefreshed(at(9_600), "first"))
    given(ANN, started("s1", 1), FIRST, again).at(14).when(spend(0)).then("sessions/s1", REUSE)


@pytest.mark.parametrize(
    ("now", "is_good"), [(0, True), (13, True), (14, True), (73, True), (74, False), (9_000, False)]
)
def test_recently_applied_refresh_may_look_older_by_the_skew(now: int, is_good: bool) -> None:
    """The instance that spent the token has a slower clock, or the log is ahead of all clocks."""
    story = given(ANN, started("s1", 1), FIRST).at(now)
    story.state.recent_refreshes = {("s1", 1)}
    again = SessionRefreshed(at(now + 9_000), "first")
    story.when(spend(0)).then("sessions/s1", again if is_good else REUSE)


def test_a_refresh_in_the_future_has_no_grace() -> None:
    """Its time does not show how long ago it was: after a clock that was ahead, for years."""
    given(ANN, started("s1", 1), FIRST).at(2).when(spend(0)).then("sessions/s1", REUSE)


def test_a_session_ends_a_fixed_time_after_its_start_however_often_it_is_refreshed() -> None:
    """Here 20,000 seconds after second 2."""
    last = ("sessions/s1", SessionRefreshed(at(25_000), "first"))
    session = given(ANN, started("s1", 1), last)
    session.at(15_000).when(spend(1)).then("sessions/s1", SessionRefreshed(at(20_002), "new"))
    session.at(20_001).when(spend(1)).then("sessions/s1", SessionRefreshed(at(20_002), "new"))
    session.at(20_002).when(spend(1)).refused(Unauthenticated)


def test_a_new_session_does_not_outlive_the_total() -> None:
    brief = StartSession(1, "hash of ann", "s1", "secret", Lifetime(unused=50, total=20), DEVICE)
    event = SessionStarted(1, at(120), "secret", personal=DEVICE)
    given(ANN).at(100).when(brief).then("sessions/s1", event)


def test_an_unknown_an_ended_and_an_expired_session_are_not_refreshed() -> None:
    given(ANN).when(spend(0)).refused(Unauthenticated)
    ended = ("sessions/s1", SessionEnded("logout"))
    given(ANN, started("s1", 1), ended).when(spend(0)).refused(Unauthenticated)
    given(ANN, started("s1", 1)).at(9_000).when(spend(0)).refused(Unauthenticated)


def test_a_token_that_was_never_given_out_is_refused() -> None:
    given(ANN, started("s1", 1)).when(spend(1)).refused(Unauthenticated)


def test_a_session_expires_when_its_time_is_over_and_not_before() -> None:
    expire = ExpireSession("s1")
    session = given(ANN, started("s1", 1))
    session.at(8_999).when(expire).refused(NotFound)
    decision = session.at(9_000).when(expire).then("sessions/s1", SessionEnded("expired"))
    assert decision.actor == "operator/eventapi"
    given(ANN).at(9_000).when(expire).refused(NotFound)
