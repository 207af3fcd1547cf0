"""The rules of the commands of operators."""

from __future__ import annotations

import pytest

from eventapi.commands.command import Command
from eventapi.commands.operators import ByOperator, RequestPasswordResetFor
from eventapi.commands.second_factors import RemoveTotp
from eventapi.commands.users import (
    DisableUser,
    EnableUser,
    EraseUser,
    GrantRole,
    RegisterUser,
    RevokeRole,
    SetEmail,
)
from eventapi.testing.given import Happened, at, given, profile, registered
from events.errors import (
    ActionRefused,
    EmailTaken,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
)
from events.record import Event
from events.vocabulary.users import (
    EmailChange,
    Profile,
    TotpSecret,
    UserDisabled,
    UserEmailChanged,
    UserEnabled,
    UserErased,
    UserPasswordResetRequested,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserTotpDisabled,
    UserTotpStarted,
)

BY = "operator/root"
ANN, BOB = registered(1, "ann"), registered(2, "bob")
ANN_OPERATES: Happened = ("users/1", UserRoleGranted("operator"))
BOB_OPERATES: Happened = ("users/2", UserRoleGranted("operator"))
ANN_RETIRED: Happened = ("users/1", UserRoleRevoked("operator"))
ANN_DISABLED: Happened = ("users/1", UserDisabled())
BOB_DISABLED: Happened = ("users/2", UserDisabled())
ANN_ERASED: Happened = ("users/1", UserErased())
BOB_ERASED: Happened = ("users/2", UserErased())
BOB_PENDING: Happened = (
    "users/2",
    UserEmailChanged(personal=EmailChange("new@example.org", "bob@example.org")),
)


# The last operator

EACH_THAT_TAKES_THE_ROLE = pytest.mark.parametrize(
    ("command", "event"),
    [
        (DisableUser("ann", BY, keep_operator=True), UserDisabled()),
        (RevokeRole("ann", "operator", BY, keep_operator=True), UserRoleRevoked("operator")),
        (EraseUser("ann", BY, keep_operator=True), UserErased()),
    ],
    ids=["disable", "revoke", "erase"],
)


@pytest.mark.parametrize(
    "command",
    [
        DisableUser("ann", BY, keep_operator=True),
        RevokeRole("ann", "operator", BY, keep_operator=True),
        EraseUser("ann", BY, keep_operator=True),
    ],
    ids=["disable", "revoke", "erase"],
)
@pytest.mark.parametrize(
    "others",
    [
        [],
        [BOB],
        [BOB, BOB_OPERATES, BOB_DISABLED],
        [BOB, BOB_OPERATES, BOB_ERASED],
        [BOB, ("users/2", UserRoleGranted("auditor"))],
    ],
    ids=["alone", "beside a user", "beside a disabled one", "beside an erased one", "auditor"],
)
def test_the_last_operator_stays_one(command: Command, others: list[Happened]) -> None:
    refusal = given(ANN, ANN_OPERATES, *others).when(command).refused(ActionRefused)
    assert str(refusal).startswith("ann is the last operator")


@EACH_THAT_TAKES_THE_ROLE
def test_one_of_two_operators_may_go(command: Command, event: Event) -> None:
    decision = given(ANN, ANN_OPERATES, BOB, BOB_OPERATES).when(command).then("users/1", event)
    assert decision.actor == BY


@EACH_THAT_TAKES_THE_ROLE
@pytest.mark.parametrize("before", [[], [ANN_OPERATES, ANN_DISABLED]], ids=["user", "disabled"])
def test_an_account_that_does_not_operate_the_server_may_go(
    command: Command, event: Event, before: list[Happened]
) -> None:
    given(ANN, *before).when(command).then("users/1", event)


def test_another_role_of_the_last_operator_may_be_revoked() -> None:
    given(ANN, ANN_OPERATES).when(RevokeRole("ann", "auditor", BY, keep_operator=True)).then(
        "users/1", UserRoleRevoked("auditor")
    )


def test_a_revocation_may_require_that_the_user_has_the_role() -> None:
    revoke = RevokeRole("ann", "operator", BY, must_have=True)
    given(ANN, ANN_OPERATES).when(revoke).then("users/1", UserRoleRevoked("operator"))
    given(ANN).when(revoke).refused(ActionRefused)


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (DisableUser("ann", BY), UserDisabled()),
        (RevokeRole("ann", "operator", BY), UserRoleRevoked("operator")),
        (EraseUser("ann", BY), UserErased()),
    ],
)
def test_the_command_line_may_take_the_last_role(command: Command, event: Event) -> None:
    given(ANN, ANN_OPERATES).when(command).then("users/1", event)


# The rights of the operator, when the command is decided


def by_ann(command: Command, user: int | None = 2, *versions: int) -> ByOperator:
    return ByOperator(1, command, user, frozenset(versions) if versions else None)


DISABLE_BOB = DisableUser("bob", "users/1")


def test_an_operator_is_the_actor() -> None:
    when = given(ANN, ANN_OPERATES, BOB).when(by_ann(DISABLE_BOB))
    assert when.then("users/2", UserDisabled()).actor == "users/1"


@pytest.mark.parametrize("lost", [ANN_RETIRED, ANN_DISABLED, ANN_ERASED])
@pytest.mark.parametrize(
    "command", [DISABLE_BOB, EnableUser("bob", "users/1"), GrantRole("bob", "operator", "users/1")]
)
def test_an_operator_who_lost_the_rights_meanwhile_changes_nothing(
    lost: Happened, command: Command
) -> None:
    given(ANN, ANN_OPERATES, BOB, lost).when(by_ann(command)).refused(Forbidden)


def test_users_and_auditors_are_no_operators() -> None:
    auditor = ("users/1", UserRoleGranted("auditor"))
    given(ANN, auditor, BOB).when(by_ann(DISABLE_BOB)).refused(Forbidden)


def test_a_command_never_reaches_the_next_user_of_a_name() -> None:
    """Given that the name was erased and registered anew, when it is named, then nothing happens."""
    next_bob: Happened = ("users/3", UserRegistered(personal=profile("bob")))
    given(ANN, ANN_OPERATES, BOB, BOB_ERASED, next_bob).when(by_ann(DISABLE_BOB)).refused(NotFound)


@pytest.mark.parametrize(("versions", "is_current"), [((3,), True), ((1, 3), True), ((2,), False)])
def test_a_command_applies_to_the_versions_that_it_names(
    versions: tuple[int, ...], is_current: bool
) -> None:
    when = given(ANN, ANN_OPERATES, BOB).when(by_ann(DISABLE_BOB, 2, *versions))
    if is_current:
        when.then("users/2", UserDisabled())
    else:
        when.refused(PreconditionFailed)


def test_a_new_user_has_no_number_yet() -> None:
    event = UserRegistered(personal=profile("bob"))
    given(ANN, ANN_OPERATES).when(by_ann(RegisterUser(profile("bob"), "users/1"), None)).then(
        "users/2", event
    )


# Links that set a new password


@pytest.mark.parametrize("delivery", ["mail", "link"])
def test_a_link_is_valid_for_an_hour_and_goes_where_it_was_requested(delivery: str) -> None:
    command = RequestPasswordResetFor("ANN", BY, delivery)  # type: ignore[arg-type]
    decision = (
        given(ANN)
        .when(command)
        .then("users/1", UserPasswordResetRequested(at(1 + 3_600), delivery))  # type: ignore[arg-type]
    )
    assert (decision.actor, decision.sealedfor) == (BY, "users/1")


@pytest.mark.parametrize("delivery", ["mail", "link"])
def test_a_disabled_user_gets_no_link_because_it_would_not_work(delivery: str) -> None:
    command = RequestPasswordResetFor("ann", BY, delivery)  # type: ignore[arg-type]
    refusal = given(ANN, ANN_DISABLED).when(command).refused(ActionRefused)
    assert "enable the account first" in str(refusal)
    given(ANN, ANN_DISABLED, ("users/1", UserEnabled())).when(command)


def test_a_user_without_an_address_gets_a_link_but_no_mail() -> None:
    nameless: Happened = ("users/1", UserRegistered(personal=Profile("ann", "", "hash")))
    given(nameless).when(RequestPasswordResetFor("ann", BY)).refused(ActionRefused)
    given(nameless).when(RequestPasswordResetFor("ann", BY, "link")).then(
        "users/1", UserPasswordResetRequested(at(1 + 3_600), "link")
    )


@pytest.mark.parametrize(
    "command",
    [RequestPasswordResetFor("ann", BY), SetEmail("ann", "a@b.org", BY), RemoveTotp("ann", BY)],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("before", [[], [ANN, ANN_ERASED]], ids=["unknown", "erased"])
def test_unknown_and_erased_users_are_not_found(command: Command, before: list[Happened]) -> None:
    given(*before).when(command).refused(NotFound)


# The address


def test_an_address_that_an_operator_sets_counts_at_once() -> None:
    command = SetEmail("Ann", "new@example.org", BY)
    decision = (
        given(ANN)
        .when(command)
        .then(
            "users/1",
            UserEmailChanged(
                counts=True, personal=EmailChange("new@example.org", "ann@example.org")
            ),
        )
    )
    assert (decision.actor, decision.sealedfor) == (BY, "users/1")


@pytest.mark.parametrize("email", ["bob@example.org", "BOB@example.org", "new@example.org"])
def test_an_address_of_another_user_is_taken_also_before_it_counts(email: str) -> None:
    given(ANN, BOB, BOB_PENDING).when(SetEmail("ann", email, BY)).refused(EmailTaken)


def test_an_operator_can_set_the_address_that_waits_for_its_verification() -> None:
    given(ANN, BOB, BOB_PENDING).when(SetEmail("bob", "new@example.org", BY)).then(
        "users/2",
        UserEmailChanged(counts=True, personal=EmailChange("new@example.org", "bob@example.org")),
    )


@pytest.mark.parametrize("email", ["", "nobody", "a@b", "a b@example.org"])
def test_an_address_obeys_the_rules(email: str) -> None:
    given(ANN).when(SetEmail("ann", email, BY)).refused(Invalid)


# The second factor


def test_an_operator_removes_a_second_factor() -> None:
    started: Happened = ("users/1", UserTotpStarted(personal=TotpSecret("A" * 32)))
    decision = given(ANN, started).when(RemoveTotp("ann", BY)).then("users/1", UserTotpDisabled())
    assert decision.actor == BY


def test_only_a_second_factor_that_exists_can_be_removed() -> None:
    given(ANN).when(RemoveTotp("ann", BY)).refused(ActionRefused)
