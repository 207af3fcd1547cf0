"""Commands that record failed logins and opened values."""

from __future__ import annotations

import pytest

from eventapi.commands.security import (
    RecordFailedLogins,
    RecordOpening,
    openings_of_pack,
    window_of,
)
from eventapi.testing.given import Happened, at, given, registered
from events.errors import ActionRefused, Forbidden, Invalid, NotFound
from events.vocabulary.security import OTHER_NAMES, LoginFailed, PackQuery, ValuesOpened
from events.vocabulary.sessions import Device
from events.vocabulary.users import UserDisabled, UserErased, UserRoleGranted
from projections.tables.failed_logins import WINDOWS_KEPT

ANN, BOB = registered(1, "ann"), registered(2, "bob")
AUDITOR: Happened = ("users/2", UserRoleGranted("auditor"))
DEVICE = Device("192.0.2.7", "curl")
FIRST, HOME, WORK = at(0), "aa" * 16, "bb" * 16
OF_ANN = RecordFailedLogins(FIRST, "users/1", HOME, 7, DEVICE)
IN_LOG: Happened = ("users/1", LoginFailed(FIRST, 7, HOME, personal=DEVICE))
UNKNOWN = f"security/{'01' * 16}"


def test_failed_logins_of_a_user_are_sealed_for_the_user() -> None:
    decision = given(ANN).at(600).when(OF_ANN).then(*IN_LOG)
    assert (decision.actor, decision.sealedfor) == ("operator/eventapi", "users/1")
    assert not decision.revokes


@pytest.mark.parametrize("subject", [UNKNOWN, OTHER_NAMES])
def test_failed_logins_of_an_unknown_name_have_nothing_to_seal(subject: str) -> None:
    command = RecordFailedLogins(FIRST, subject, HOME, 3)
    decision = given().at(600).when(command).then(subject, LoginFailed(FIRST, 3, HOME))
    assert decision.sealedfor == ""


def test_a_window_that_has_not_ended_is_refused() -> None:
    given(ANN).at(599).when(OF_ANN).refused(ActionRefused)


def test_a_window_is_recorded_once_for_each_subject_and_address() -> None:
    recorded = given(ANN, BOB, IN_LOG).at(1_300)
    recorded.when(OF_ANN).refused(ActionRefused)
    for other in (
        RecordFailedLogins(FIRST, "users/2", HOME, 7, DEVICE),
        RecordFailedLogins(FIRST, "users/1", WORK, 7, DEVICE),
        RecordFailedLogins(at(600), "users/1", HOME, 7, DEVICE),
    ):
        event = LoginFailed(other.window, 7, other.address_hash, personal=DEVICE)
        recorded.when(other).then(other.subject, event)


def test_a_window_before_all_that_are_known_is_refused() -> None:
    """The log may have its events, which the state has forgotten."""
    windows = [at(600 * number) for number in range(1, WINDOWS_KEPT + 1)]
    later: list[Happened] = [(UNKNOWN, LoginFailed(window, 1, WORK)) for window in windows]
    given(ANN, *later[1:]).at(9_000).when(OF_ANN).then(*IN_LOG)
    given(ANN, *later).at(9_000).when(OF_ANN).refused(ActionRefused)


def test_nothing_is_recorded_of_an_erased_user() -> None:
    given(ANN, ("users/1", UserErased())).at(600).when(OF_ANN).refused(NotFound)
    given().at(600).when(OF_ANN).refused(NotFound)


def test_windows_begin_at_full_tens_of_minutes() -> None:
    assert window_of("2026-11-29T18:39:59.999999Z") == "2026-11-29T18:30:00.000000Z"
    assert window_of("2026-11-29T18:40:00.000000Z") == "2026-11-29T18:40:00.000000Z"


@pytest.mark.parametrize("actor", ["users/2", "operator/root"])
def test_an_auditor_or_operator_opens_the_values_of_a_user(actor: str) -> None:
    opened = given(ANN, BOB, AUDITOR)
    command = RecordOpening(actor, "users/1", 1)
    decision = opened.when(command).then("users/1", ValuesOpened(1))
    assert (decision.actor, decision.sealedfor) == (actor, "")
    opened.when(command).then("users/1", ValuesOpened(1))


def test_who_is_no_auditor_any_more_opens_nothing() -> None:
    command = RecordOpening("users/2", "users/1", 1)
    given(ANN, BOB).when(command).refused(Forbidden)
    given(ANN).when(command).refused(Forbidden)
    given(ANN, BOB, AUDITOR, ("users/2", UserDisabled())).when(command).refused(Forbidden)


def test_values_of_an_erased_user_are_not_opened() -> None:
    erased: Happened = ("users/1", UserErased())
    given(ANN, BOB, AUDITOR, erased).when(RecordOpening("users/2", "users/1", 1)).refused(NotFound)


def test_a_pack_is_one_event_for_each_user() -> None:
    query = PackQuery("items/7", since=at(0), until=at(9))
    commands = openings_of_pack("operator/root", query, {"users/2": 2, "users/1": 1})
    opened = given(ANN, BOB)
    found = [opened.when(command).then(command.subject, event).subject
             for command, event in zip(
                 commands,
                 [ValuesOpened(query=query, count=1), ValuesOpened(query=query, count=2)],
                 strict=True,
             )]  # fmt: skip
    assert found == ["users/1", "users/2"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (PackQuery("a name that a person typed"), "/subject"),
        (PackQuery("users/ann"), "/subject"),
        (PackQuery("users/1\n"), "/subject"),
        (PackQuery(user=1, since="yesterday"), "/since"),
        (PackQuery(user=1, until="2026-01-01"), "/until"),
    ],
)
def test_a_query_has_no_text_that_a_person_typed(query: PackQuery, pointer: str) -> None:
    command = RecordOpening("operator/root", "users/1", query=query, count=1)
    (fault,) = given(ANN).when(command).refused(Invalid).faults
    assert fault.pointer == pointer


@pytest.mark.parametrize(
    "subject",
    ["items/7", "users/1", f"sessions/{'a1' * 16}", "keys/0a", UNKNOWN, "schemas/invoices",
     "log/checkpoints", "webhooks/1"],
)  # fmt: skip
def test_control_a_query_may_have_any_subject_of_the_log(subject: str) -> None:
    query = PackQuery(subject)
    command = RecordOpening("operator/root", "users/1", query=query, count=1)
    given(ANN).when(command).then("users/1", ValuesOpened(query=query, count=1))
