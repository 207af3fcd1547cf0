"""The rules of what can be wished of sessions."""

from __future__ import annotations

import pytest

from eventapi.commands.sessions import EndSession, StartSession
from events.errors import AccountDisabled, InvalidCredentials, Unauthenticated
from events.sessions import Device, EndReason, SessionEnded, SessionStarted
from events.users import (
    PasswordHash,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
)
from tests.given import Happened, at, given, registered, started

ANN, BOB = registered(1, "ann"), registered(2, "bob")
DEVICE = Device("::1", "curl")
LOGIN = StartSession(1, "hash of ann", "s1", "secret", at(9_000), DEVICE)
STARTED = SessionStarted(1, at(9_000), "secret", personal=DEVICE)


def test_the_right_password_starts_a_session() -> None:
    decision = given(ANN).when(LOGIN).then("sessions/s1", STARTED)
    assert decision.actor == decision.sealedfor == "users/1"


def test_a_user_may_have_several_sessions() -> None:
    given(ANN, started("s0", 1)).when(LOGIN).then("sessions/s1", STARTED)


def test_a_password_changed_since_it_was_checked_starts_no_session() -> None:
    changed = ("users/1", UserPasswordChanged("changed", personal=PasswordHash("other")))
    given(ANN, changed).when(LOGIN).refused(InvalidCredentials)


def test_a_disabled_user_is_told_so_only_with_the_right_password() -> None:
    disabled = ("users/1", UserDisabled())
    given(ANN, disabled).when(LOGIN).refused(AccountDisabled)
    wrong = StartSession(1, "hash of another", "s1", "secret", at(9_000), DEVICE)
    given(ANN, disabled).when(wrong).refused(InvalidCredentials)


def test_an_enabled_user_logs_in_again() -> None:
    story = (ANN, ("users/1", UserDisabled()), ("users/1", UserEnabled()))
    given(*story).when(LOGIN).then("sessions/s1", STARTED)


def test_an_unknown_and_an_erased_user_are_refused_like_a_wrong_password() -> None:
    unknown = given(BOB).when(LOGIN).refused(InvalidCredentials)
    erased = given(ANN, ("users/1", UserErased())).when(LOGIN).refused(InvalidCredentials)
    wrong = StartSession(1, "hash of another", "s1", "secret", at(9_000), DEVICE)
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
    refusal = given(*story).when(EndSession(1, "s1", "logout")).refused(Unauthenticated)
    unknown = given().when(EndSession(1, "s1", "logout")).refused(Unauthenticated)
    assert str(refusal) == str(unknown)
