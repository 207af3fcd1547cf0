"""The rules of the commands about users."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from eventapi.commands.command import Command
from eventapi.commands.users import DisableUser, RegisterUser, RehashPassword, UpdateProfile
from eventapi.testing.given import at, given, profile, registered
from events.errors import EmailTaken, NotFound, UsernameTaken
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    ProfileChanges,
    UserDisabled,
    UserEmailChanged,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserUpdated,
)

ANN, BOB = registered(1, "ann"), registered(2, "bob")
ERASED = ("users/1", UserErased())
DISABLED = ("users/1", UserDisabled())
NEW_EMAIL = ("users/1", UserUpdated(personal=ProfileChanges(email="new@example.org")))
REHASHED = ("users/1", UserPasswordChanged("rehashed", personal=PasswordHash("argon2")))


def test_first_user_is_number_one_and_its_own_actor() -> None:
    decision = (
        given()
        .when(RegisterUser(profile("ann")))
        .then("users/1", UserRegistered(personal=profile("ann")))
    )
    assert decision.actor == decision.sealedfor == "users/1"


def test_several_users_may_have_no_email_address() -> None:
    nobody = replace(profile("ann"), email="")
    given(("users/1", UserRegistered(personal=nobody))).when(
        RegisterUser(replace(nobody, username="ben"), imported=True)
    ).then("users/2", UserRegistered(personal=replace(nobody, username="ben")))


def test_operator_can_register_an_older_account() -> None:
    decision = (
        given(ANN)
        .when(RegisterUser(profile("bob"), actor="operator/root", created_at=at(-9)))
        .then("users/2", UserRegistered(created_at=at(-9), personal=profile("bob")))
    )
    assert (decision.actor, decision.sealedfor) == ("operator/root", "users/2")


@pytest.mark.parametrize("name", ["ann", "ANN", "Ann"])
def test_a_username_is_taken_without_regard_to_case(name: str) -> None:
    wish = RegisterUser(profile(name, email="other@example.org"))
    given(ANN).when(wish).refused(UsernameTaken)


@pytest.mark.parametrize("email", ["ann@example.org", "ANN@Example.Org"])
def test_an_email_is_taken_without_regard_to_case(email: str) -> None:
    given(ANN).when(RegisterUser(profile("other", email=email))).refused(EmailTaken)


def test_refusal_does_not_reveal_the_owner_of_an_email() -> None:
    wish = RegisterUser(profile("other", email="ann@example.org"))
    refusal = given(ANN).when(wish).refused(EmailTaken)
    assert "ann" not in str(refusal)


def test_a_disabled_user_keeps_name_and_email() -> None:
    given(ANN, DISABLED).when(RegisterUser(profile("ann", email="x@y.org"))).refused(UsernameTaken)
    wish = RegisterUser(profile("xia", email="ann@example.org"))
    given(ANN, DISABLED).when(wish).refused(EmailTaken)


def test_name_and_email_of_an_erased_user_are_free_but_their_number_is_not() -> None:
    event = UserRegistered(personal=profile("ann"))
    given(ANN, ERASED).when(RegisterUser(profile("ann"))).then("users/2", event)


def test_an_email_given_up_is_free_and_the_new_one_is_not() -> None:
    wish = RegisterUser(profile("bob", email="ann@example.org"))
    event = UserRegistered(personal=wish.profile)
    given(ANN, NEW_EMAIL).when(wish).then("users/2", event)
    wish = RegisterUser(profile("bob", email="NEW@example.org"))
    given(ANN, NEW_EMAIL).when(wish).refused(EmailTaken)


def test_update_changes_the_given_values_of_a_profile() -> None:
    wish = UpdateProfile(1, email="new@example.org", full_name=None)
    change = EmailChange("new@example.org", "ann@example.org", None)
    decision = given(ANN).when(wish).then("users/1", UserEmailChanged(personal=change))
    assert decision.actor == decision.sealedfor == "users/1"


def test_the_old_email_again_withdraws_a_pending_one() -> None:
    pending = UserEmailChanged(personal=EmailChange("new@example.org", "ann@example.org"))
    change = EmailChange("ann@example.org", "ann@example.org")
    given(ANN, ("users/1", pending)).when(UpdateProfile(1, email="ann@example.org")).then(
        "users/1", UserEmailChanged(personal=change)
    )


def test_values_not_given_are_not_in_the_event() -> None:
    changes = ProfileChanges(email=UNSET, full_name="Annie")
    given(ANN).when(UpdateProfile(1, full_name="Annie")).then(
        "users/1", UserUpdated(personal=changes)
    )


def test_email_of_another_user_is_taken() -> None:
    given(ANN, BOB).when(UpdateProfile(1, email="BOB@example.org")).refused(EmailTaken)


@pytest.mark.parametrize("email", ["ann@example.org", "ANN@example.org"])
def test_own_email_can_change_its_case(email: str) -> None:
    event = UserUpdated(personal=ProfileChanges(email=email))
    given(ANN).when(UpdateProfile(1, email=email)).then("users/1", event)


def test_rehash_replaces_the_stored_hash() -> None:
    event = UserPasswordChanged("rehashed", personal=PasswordHash("argon2"))
    given(ANN).when(RehashPassword(1, "hash of ann", "argon2")).then("users/1", event)


def test_rehash_is_refused_if_the_password_was_changed_meanwhile() -> None:
    given(ANN, REHASHED).when(RehashPassword(1, "hash of ann", "again")).refused(NotFound)


@pytest.mark.parametrize("name", ["ann", "ANN"])
def test_operator_disables_a_user_by_name(name: str) -> None:
    decision = given(ANN).when(DisableUser(name, "operator/root")).then("users/1", UserDisabled())
    assert (decision.actor, decision.sealedfor) == ("operator/root", "")


@pytest.mark.parametrize(
    "wish",
    [
        UpdateProfile(1, full_name="x"),
        RehashPassword(1, "", "x"),
        RehashPassword(1, "hash of ann", "x"),
        DisableUser("ann", "operator/root"),
        DisableUser("", "operator/root"),
    ],
    ids=repr,
)
def test_erased_user_is_refused_exactly_like_an_unknown_one(wish: Command) -> None:
    erased = given(ANN, ERASED).when(wish).refused(NotFound)
    unknown = given().when(wish).refused(NotFound)
    assert str(erased) == str(unknown)
