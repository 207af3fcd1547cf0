"""The table of users: given what happened, then who there is."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

from eventapi.testing.given import at, created, profile, registered, started, state_of
from events.record import Event
from events.vocabulary.users import (
    PasswordHash,
    ProfileChanges,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)
from projections.tables.users import User

ANN = registered(1, "ann")


def test_a_registered_user_is_found_by_number_name_and_email() -> None:
    state = state_of(ANN)
    ann = User(
        id=1,
        username="ann",
        email="ann@example.org",
        full_name="Ann",
        password_hash="hash of ann",
        status="enabled",
        roles=frozenset(),
        created_at=at(1),
        updated_at=at(1),
        version=1,
        password_at=1,
    )
    assert state.users.by_id[1] == ann
    assert state.users.find_by_username("ANN") == ann
    assert state.users.find_by_email("Ann@Example.ORG") == ann
    assert state.users.last_id == 1


def test_imported_user_keeps_the_time_of_creation() -> None:
    state = state_of(("users/1", UserRegistered(created_at=at(-5), personal=profile("ann"))))
    assert state.users.by_id[1].created_at == at(-5)
    assert state.users.by_id[1].updated_at == at(1)


def test_an_empty_email_is_no_address() -> None:
    nobody = msgspec.structs.replace(profile("ann"), email="")
    without = ("users/1", UserRegistered(personal=nobody))
    assert state_of(without).users.find_by_email("") is None
    changes = ProfileChanges(email="ann@example.org")
    users = state_of(without, ("users/1", UserUpdated(personal=changes))).users
    assert users.find_by_email("ANN@example.org") == users.by_id[1]
    assert state_of(without, ("users/1", UserErased())).users.ids_by_email == {}
    emptied = ("users/1", UserUpdated(personal=ProfileChanges(email="")))
    assert state_of(ANN, emptied).users.ids_by_email == {}


def test_a_gap_in_the_numbers_is_not_filled() -> None:
    assert state_of(registered(5, "ann"), registered(2, "bob")).users.last_id == 5


def test_a_changed_email_is_found_and_the_old_one_is_free() -> None:
    state = state_of(ANN, ("users/1", UserUpdated(personal=ProfileChanges(email="x@example.org"))))
    user = state.users.find_by_email("X@example.org")
    assert user is not None
    assert (user.id, user.email, user.full_name) == (1, "x@example.org", "Ann")
    assert (user.created_at, user.updated_at, user.version) == (at(1), at(2), 2)
    assert state.users.find_by_email("ann@example.org") is None


def test_an_email_that_changes_only_in_case_is_still_found() -> None:
    changes = ProfileChanges(email="ANN@example.org")
    user = state_of(ANN, ("users/1", UserUpdated(personal=changes))).users.find_by_email(
        "ann@example.org"
    )
    assert user is not None
    assert user.email == "ANN@example.org"


def test_full_name_can_be_removed() -> None:
    changes = ProfileChanges(email=UNSET, full_name=None)
    state = state_of(ANN, ("users/1", UserUpdated(personal=changes)))
    assert state.users.by_id[1].full_name is None
    assert state.users.by_id[1].email == "ann@example.org"


@pytest.mark.parametrize(
    ("session", "left"), [("s1", {"s1"}), (None, set()), ("unknown", set())], ids=str
)
def test_a_changed_password_ends_every_session_but_the_one_it_was_changed_in(
    session: str | None, left: set[str]
) -> None:
    event = UserPasswordChanged("changed", session, personal=PasswordHash("new"))
    state = state_of(ANN, started("s1", 1), started("s2", 1), ("users/1", event))
    assert set(state.sessions.by_id) == left
    assert state.users.by_id[1].password_hash == "new"


def test_a_rehashed_password_ends_no_session() -> None:
    event = UserPasswordChanged("rehashed", personal=PasswordHash("new"))
    state = state_of(ANN, started("s1", 1), ("users/1", event))
    assert set(state.sessions.by_id) == {"s1"}
    assert state.users.by_id[1].password_hash == "new"


def test_a_disabled_user_keeps_items_and_name_but_no_session() -> None:
    state = state_of(ANN, started("s1", 1), created(1, 1), ("users/1", UserDisabled()))
    assert state.users.by_id[1].disabled
    assert state.users.find_by_username("ann") is not None
    assert not state.sessions.by_id
    assert 1 in state["items"].by_id


def test_only_the_disabled_user_loses_sessions() -> None:
    state = state_of(
        ANN, registered(2, "bob"), started("s1", 1), started("s2", 2), ("users/1", UserDisabled())
    )
    assert set(state.sessions.by_id) == {"s2"}


def test_enabled_user_can_log_in_again() -> None:
    state = state_of(ANN, ("users/1", UserDisabled()), ("users/1", UserEnabled()))
    assert not state.users.by_id[1].disabled
    assert state.users.by_id[1].version == 3


def test_roles_come_and_go() -> None:
    granted = state_of(
        ANN, ("users/1", UserRoleGranted("auditor")), ("users/1", UserRoleGranted("operator"))
    )
    assert granted.users.by_id[1].roles == {"auditor", "operator"}
    revoked = state_of(
        ANN, ("users/1", UserRoleGranted("auditor")), ("users/1", UserRoleRevoked("auditor"))
    )
    assert revoked.users.by_id[1].roles == frozenset()


def test_erased_user_keeps_only_number_status_and_version() -> None:
    state = state_of(
        ANN,
        ("users/1", UserRoleGranted("auditor")),
        started("s1", 1),
        created(1, 1),
        created(2, 1),
        ("users/1", UserErased()),
    )
    assert state.users.by_id[1] == User(
        1, "", "", None, "", "erased", frozenset(), created_at="", updated_at=at(6), version=6
    )
    assert not state.sessions.by_id
    assert not state["items"].by_id
    assert {1, 2} == set(state["items"].deleted)


def test_the_name_and_email_of_an_erased_user_are_free_and_their_number_is_not() -> None:
    state = state_of(ANN, ("users/1", UserErased()))
    assert state.users.find_by_username("ann") is None
    assert state.users.find_by_email("ann@example.org") is None
    assert state.users.last_id == 1


def test_a_second_erasure_does_not_free_the_name_of_a_namesake() -> None:
    state = state_of(
        ANN, ("users/1", UserErased()), registered(2, "ann"), ("users/1", UserErased())
    )
    namesake = state.users.find_by_username("ann")
    assert namesake is not None
    assert namesake.id == 2


def test_a_user_whose_key_is_destroyed_takes_no_name() -> None:
    state = state_of(("users/1", UserRegistered(personal=None)))
    assert not state.users.ids_by_name
    assert not state.users.ids_by_email
    assert state.users.by_id[1].username == ""


@pytest.mark.parametrize(
    "event",
    [
        UserUpdated(personal=ProfileChanges(full_name="x")),
        UserPasswordChanged("changed", personal=PasswordHash("new")),
        UserDisabled(),
        UserEnabled(),
        UserRoleGranted("auditor"),
        UserRoleRevoked("auditor"),
        UserErased(),
    ],
    ids=lambda event: event.type,
)
def test_event_of_an_unknown_user_changes_no_user(event: Event) -> None:
    assert state_of(ANN, ("users/7", event)).users.by_id == state_of(ANN).users.by_id


OLD = "$2b$04$" + "." * 53
TODAY = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43


def stored(number: int, name: str, password_hash: str) -> tuple[str, Event]:
    made = msgspec.structs.replace(profile(name), password_hash=password_hash)
    return f"users/{number}", UserRegistered(personal=made)


@pytest.mark.parametrize(
    ("last", "kinds"),
    [
        ([], {"$2b$04$", "$argon2id$v=19$m=19456,t=2,p=1$"}),
        ([("users/1", UserErased())], {"$2b$04$", "$argon2id$v=19$m=19456,t=2,p=1$"}),
        (
            [("users/1", UserErased()), ("users/2", UserErased())],
            {"$argon2id$v=19$m=19456,t=2,p=1$"},
        ),
        (
            [
                ("users/1", UserPasswordChanged("rehashed", personal=PasswordHash(TODAY))),
                ("users/2", UserPasswordChanged("changed", personal=PasswordHash(TODAY))),
            ],
            {"$argon2id$v=19$m=19456,t=2,p=1$"},
        ),
    ],
)
def test_kind_of_hash_is_listed_while_a_user_has_one(
    last: list[tuple[str, Event]], kinds: set[str]
) -> None:
    users = [stored(1, "ann", OLD), stored(2, "bob", OLD), stored(3, "cleo", TODAY)]
    state = state_of(*users, stored(4, "dan", "no hash at all"), *last)
    assert {kind.prefix for kind in state.users.hash_kinds} == kinds
