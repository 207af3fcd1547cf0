"""Commands about mailed links: what is accepted, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from eventapi.commands.mailed_links import (
    RequestEmailVerification,
    RequestPasswordReset,
    ResetPassword,
    VerifyEmail,
    WithdrawPendingEmail,
)
from eventapi.commands.users import SetEmail, UpdateProfile
from eventapi.testing.given import at, given, registered, started
from events.errors import ActionRefused, EmailTaken, Invalid, NotFound
from events.record import Event
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked
from events.vocabulary.sessions import Device
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    ProfileChanges,
    RecoveryHashes,
    TotpSecret,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserPasswordResetRequested,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
    UserUpdated,
    VerifiedEmail,
)

ANN, BOB = registered(1, "ann"), registered(2, "bob")
OLD, NEW = "ann@example.org", "new@example.org"
CURL = Device("::1", "curl")
REQUESTED = ("users/1", UserPasswordResetRequested(at(9_000)))
PENDING = ("users/1", UserEmailChanged(personal=EmailChange(NEW, OLD)))


def verified(email: str) -> tuple[str, Event]:
    return "users/1", UserEmailVerified(personal=VerifiedEmail(email))


def test_a_user_requests_a_link_that_is_valid_for_an_hour() -> None:
    expected = UserPasswordResetRequested(at(3_610), personal=CURL)
    decision = given(ANN).at(10).when(RequestPasswordReset(1, CURL)).then("users/1", expected)
    assert (decision.actor, decision.sealedfor) == ("users/1", "users/1")


def test_an_operator_requests_a_link() -> None:
    command = RequestPasswordReset(1, delivery="link", actor="users/2")
    expected = UserPasswordResetRequested(at(3_601), "link")
    assert given(ANN).when(command).then("users/1", expected).actor == "users/2"


def test_a_link_sets_a_password_and_ends_every_session() -> None:
    before = given(ANN, REQUESTED, started("s1", 1))
    event = UserPasswordReset(2, True, personal=PasswordHash("new"))
    assert before.when(ResetPassword(1, 2, OLD, "new")).then("users/1", event).revokes
    after = given(ANN, REQUESTED, started("s1", 1), ("users/1", event)).state
    ann = after.users.by_id[1]
    assert (ann.password_hash, ann.password_at, ann.email_verified) == ("new", 4, True)
    assert not after.sessions.by_id


@pytest.mark.parametrize(
    "event",
    [
        UserPasswordReset(2, personal=PasswordHash("new")),
        UserPasswordChanged("changed", personal=PasswordHash("new")),
        UserDisabled(),
        UserErased(),
    ],
)
def test_a_link_is_void_after(event: Event) -> None:
    state = given(ANN, REQUESTED, ("users/1", event))
    state.when(ResetPassword(1, 2, OLD, "newer")).refused(Invalid)


def test_a_mailed_link_is_void_once_another_address_counts() -> None:
    counting = UserEmailChanged(counts=True, personal=EmailChange(NEW, OLD))
    state = given(ANN, REQUESTED, ("users/1", counting))
    state.when(ResetPassword(1, 2, OLD, "newer")).refused(Invalid)
    expected = UserPasswordReset(2, personal=PasswordHash("newer"))
    state.when(ResetPassword(1, 2, None, "newer")).then("users/1", expected)


@pytest.mark.parametrize("email", [NEW, OLD.upper()])
def test_a_mailed_link_outlives_a_change_that_does_not_count(email: str) -> None:
    changed = ("users/1", UserEmailChanged(personal=EmailChange(email, OLD)))
    reset = ResetPassword(1, 3, OLD, "newer")
    state = given(ANN, verified(OLD), REQUESTED, changed).state
    assert reset.check(state) == state.users.by_id[1]


KEY = ("keys/k1", KeyCreated(1, ("read",), "ab" * 32, personal=KeyName("a key")))
KEY_OF_BOB = ("keys/k2", KeyCreated(2, ("read",), "cd" * 32, personal=KeyName("a key")))
STARTED = ("users/1", UserTotpStarted(personal=TotpSecret("SECRET")))
ENABLED = ("users/1", UserTotpEnabled(1, personal=RecoveryHashes(["ef" * 32])))
BEFORE_A_PROOF = {
    "key": ([KEY], [("keys/k1", KeyRevoked())]),
    "second factor": ([STARTED, ENABLED], [("users/1", UserTotpDisabled())]),
    "started second factor": ([STARTED], [("users/1", UserTotpDisabled())]),
    "pending address": (
        [PENDING],
        [("users/1", UserEmailChanged(personal=EmailChange(OLD, OLD)))],
    ),
}


@pytest.mark.parametrize(("earlier", "expected"), BEFORE_A_PROOF.values(), ids=BEFORE_A_PROOF)
def test_the_first_proof_of_an_address_takes_back_what_came_before_it(
    earlier: Sequence[tuple[str, Event]], expected: Sequence[tuple[str, Event]]
) -> None:
    before = given(ANN, BOB, KEY_OF_BOB, REQUESTED, *earlier)
    reset = ResetPassword(1, 4, OLD, "new")
    before.when(reset).refused(ActionRefused)
    decisions = [command.decide(before.state) for command in reset.withdrawals(before.state)]
    assert [(one.subject, one.event) for one in decisions] == expected
    assert all(one.revokes and one.actor == "users/1" for one in decisions)
    after = given(ANN, BOB, KEY_OF_BOB, REQUESTED, *earlier, *expected)
    event = UserPasswordReset(4, True, personal=PasswordHash("new"))
    after.when(reset).then("users/1", event)
    assert (list(after.state.keys.by_id), after.state.second_factors.by_user) == (["k2"], {})
    assert after.state.users.by_id[1].pending_email is None


def test_a_reset_by_mail_withdraws_the_pending_address_of_a_verified_user_alone() -> None:
    before = given(ANN, REQUESTED, KEY, STARTED, ENABLED, PENDING, verified(OLD))
    reset = ResetPassword(1, 2, OLD, "new")
    before.when(reset).refused(ActionRefused)
    assert reset.withdrawals(before.state) == [WithdrawPendingEmail(1)]
    withdrawn = ("users/1", UserEmailChanged(personal=EmailChange(OLD, OLD)))
    after = given(ANN, REQUESTED, KEY, STARTED, ENABLED, PENDING, verified(OLD), withdrawn)
    event = UserPasswordReset(2, True, personal=PasswordHash("new"))
    after.when(reset).then("users/1", event)
    ann = after.state.users.by_id[1]
    assert (ann.email, ann.pending_email, ann.email_verified) == (OLD, None, True)
    assert (list(after.state.keys.by_id), set(after.state.second_factors.by_user)) == (["k1"], {1})


def test_a_reset_by_a_link_of_an_operator_withdraws_nothing() -> None:
    """It proves no address."""
    state = given(ANN, REQUESTED, KEY, STARTED, ENABLED, PENDING)
    reset = ResetPassword(1, 2, None, "new")
    assert not reset.withdrawals(state.state)
    event = UserPasswordReset(2, False, personal=PasswordHash("new"))
    state.when(reset).then("users/1", event)


def test_a_change_of_address_gives_a_right_and_its_withdrawal_takes_it_back() -> None:
    assert not given(ANN).when(UpdateProfile(1, email=NEW)).then(*PENDING).revokes
    withdrawn = ("users/1", UserEmailChanged(personal=EmailChange(OLD, OLD)))
    assert given(ANN, PENDING).when(WithdrawPendingEmail(1)).then(*withdrawn).revokes


def test_a_link_outlives_another_hash_of_the_same_password() -> None:
    rehashed = UserPasswordChanged("rehashed", personal=PasswordHash("same"))
    expected = UserPasswordReset(2, personal=PasswordHash("new"))
    given(ANN, REQUESTED, ("users/1", rehashed)).when(ResetPassword(1, 2, None, "new")).then(
        "users/1", expected
    )


def test_nothing_is_requested_for_an_unknown_or_erased_user() -> None:
    for state in (given(), given(ANN, ("users/1", UserErased()))):
        state.when(RequestPasswordReset(1)).refused(NotFound)
        state.when(RequestEmailVerification(1)).refused(NotFound)
        state.when(VerifyEmail(1, OLD)).refused(NotFound)


def test_a_user_requests_another_verification() -> None:
    expected = UserEmailVerificationRequested(personal=CURL)
    given(ANN).when(RequestEmailVerification(1, CURL)).then("users/1", expected)


@pytest.mark.parametrize("email", [OLD, OLD.upper(), NEW])
def test_the_pending_and_the_counting_address_can_be_verified(email: str) -> None:
    given(ANN, PENDING).when(VerifyEmail(1, email)).then(*verified(email))


def test_an_address_that_the_user_no_longer_has_cannot_be_verified() -> None:
    later = ("users/1", UserEmailChanged(personal=EmailChange("x@example.org", OLD)))
    given(ANN, PENDING, later).when(VerifyEmail(1, NEW)).refused(Invalid)


def test_a_pending_address_counts_once_it_is_verified() -> None:
    ann = given(ANN, verified(OLD), PENDING).state.users.by_id[1]
    assert (ann.email, ann.pending_email, ann.email_verified) == (OLD, NEW, True)
    users = given(ANN, verified(OLD), PENDING, verified(NEW)).state.users
    ann = users.by_id[1]
    assert (ann.email, ann.pending_email, ann.email_verified) == (NEW, None, True)
    assert users.find_by_email(OLD) is None


def test_a_pending_address_is_found_but_gets_no_mail() -> None:
    users = given(ANN, PENDING).state.users
    assert users.find_by_email(NEW) == users.find_by_counting_email(OLD) == users.by_id[1]
    assert users.find_by_counting_email(NEW) is None


@pytest.mark.parametrize("email", [OLD, NEW])
def test_both_addresses_are_taken_while_one_is_pending(email: str) -> None:
    given(ANN, BOB, PENDING).when(UpdateProfile(2, email=email)).refused(EmailTaken)


def test_both_addresses_of_an_erased_user_are_free() -> None:
    users = given(ANN, PENDING, ("users/1", UserErased())).state.users
    assert users.find_by_email(OLD) is users.find_by_email(NEW) is None


def test_an_address_set_by_an_operator_counts_at_once_and_is_not_verified() -> None:
    event = UserEmailChanged(counts=True, personal=EmailChange(NEW, OLD))
    command = SetEmail("ann", NEW, "operator/root")
    given(ANN, verified(OLD)).when(command).then("users/1", event)
    ann = given(ANN, verified(OLD), PENDING, ("users/1", event)).state.users.by_id[1]
    assert (ann.email, ann.pending_email, ann.email_verified) == (NEW, None, False)


def test_another_case_of_the_address_stays_verified() -> None:
    event = UserUpdated(personal=ProfileChanges(email=OLD.upper()))
    change = UpdateProfile(1, email=OLD.upper())
    given(ANN, verified(OLD)).when(change).then("users/1", event)
    ann = given(ANN, verified(OLD), ("users/1", event)).state.users.by_id[1]
    assert (ann.email, ann.email_verified) == (OLD.upper(), True)
