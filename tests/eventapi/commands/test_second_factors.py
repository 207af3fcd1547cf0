"""Commands about second factors: what is accepted, and what is refused."""

from __future__ import annotations

from msgspec.structs import replace

from eventapi.commands.second_factors import (
    DisableTotp,
    EnableTotp,
    RemoveTotp,
    StartTotp,
    UseSecondFactor,
)
from eventapi.commands.sessions import Lifetime, StartSession
from eventapi.testing.given import Happened, at, given, registered
from events.errors import ActionRefused, InvalidCredentials, NotFound, SecondFactorRequired
from events.vocabulary.sessions import Device, SessionStarted
from events.vocabulary.users import (
    RecoveryHashes,
    TotpSecret,
    UserErased,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
)

ANN = registered(1, "ann")
STARTED: Happened = ("users/1", UserTotpStarted(personal=TotpSecret("SECRET")))
ENABLED: Happened = ("users/1", UserTotpEnabled(100, personal=RecoveryHashes(["a", "b"])))
ON = (ANN, STARTED, ENABLED)


def test_a_user_starts_again_until_a_code_confirms() -> None:
    given(ANN).when(StartTotp(1, "SECRET")).then(*STARTED)
    given(ANN, STARTED).when(StartTotp(1, "OTHER")).then(
        "users/1", UserTotpStarted(personal=TotpSecret("OTHER"))
    )
    given(*ON).when(StartTotp(1, "OTHER")).refused(ActionRefused)


def test_only_the_started_secret_is_confirmed() -> None:
    given(ANN, STARTED).when(EnableTotp(1, "SECRET", 100, ("a", "b"))).then(*ENABLED)
    given(ANN, STARTED).when(EnableTotp(1, "OTHER", 100, ())).refused(ActionRefused)
    given(ANN).when(EnableTotp(1, "", 100, ())).refused(ActionRefused)
    given(*ON).when(EnableTotp(1, "SECRET", 101, ())).refused(ActionRefused)


def test_a_code_of_a_later_step_is_used() -> None:
    used: Happened = ("users/1", UserSecondFactorUsed(step=101))
    given(*ON).when(UseSecondFactor(1, step=101)).then(*used)
    for step in (99, 100):
        given(*ON).when(UseSecondFactor(1, step=step)).refused(InvalidCredentials)
    given(*ON, used).when(UseSecondFactor(1, step=101)).refused(InvalidCredentials)


def test_a_recovery_code_is_used_once() -> None:
    used: Happened = ("users/1", UserSecondFactorUsed(recovery=1))
    given(*ON).when(UseSecondFactor(1, recovery_hash="b")).then(*used)
    given(*ON, used).when(UseSecondFactor(1, recovery_hash="b")).refused(InvalidCredentials)
    for unknown in ("c", ""):
        given(*ON, used).when(UseSecondFactor(1, recovery_hash=unknown)).refused(InvalidCredentials)


def test_no_code_is_used_without_a_second_factor() -> None:
    for before in ((ANN,), (ANN, STARTED)):
        given(*before).when(UseSecondFactor(1, step=101)).refused(InvalidCredentials)


def test_a_session_needs_the_second_factor_that_is_on() -> None:
    plain = StartSession(1, "hash of ann", "s", "secret", Lifetime(60, 600), Device())
    given(*ON).when(plain).refused(SecondFactorRequired)
    begun: Happened = ("sessions/s", SessionStarted(1, at(62), "secret", personal=Device()))
    given(ANN, STARTED).when(plain).then(*begun)  # It is not confirmed, so it is not on.
    with_code = replace(plain, has_second_factor=True)
    begun = ("sessions/s", SessionStarted(1, at(63), "secret", personal=Device()))
    given(*ON).when(with_code).then(*begun)


def test_removal_needs_the_checked_password() -> None:
    removed: Happened = ("users/1", UserTotpDisabled())
    given(*ON).when(DisableTotp(1, "hash of ann")).then(*removed)
    given(*ON).when(DisableTotp(1, "another hash")).refused(InvalidCredentials)
    given(ANN).when(DisableTotp(1, "hash of ann")).refused(ActionRefused)


def test_an_operator_removes_a_lost_factor() -> None:
    decision = given(*ON).when(RemoveTotp("Ann", "operator/root"))
    assert decision.then("users/1", UserTotpDisabled()).actor == "operator/root"
    given(ANN).when(RemoveTotp("ann", "operator/root")).refused(ActionRefused)
    given(ANN).when(RemoveTotp("bob", "operator/root")).refused(NotFound)


def test_an_erased_user_has_no_second_factor() -> None:
    assert not given(*ON, ("users/1", UserErased())).state.second_factors.by_user
