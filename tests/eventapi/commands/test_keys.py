"""Commands about API keys: what is accepted, and what is refused."""

from __future__ import annotations

import pytest

from eventapi.commands.keys import MAX_KEYS, CreateKey, RecordKeyUse, RevokeKey
from eventapi.testing.given import Happened, at, given, registered
from events.errors import Invalid, NotFound, QuotaExceeded
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.sessions import Device
from events.vocabulary.users import UserErased, UserRoleGranted

ANN, BOB = registered(1, "ann"), registered(2, "bob")
CURL = Device("::1", "curl")


def made(key: str, user: int = 1) -> Happened:
    return f"keys/{key}", KeyCreated(user, ("read",), "hash", personal=KeyName("nightly"))


def create(**changes: object) -> CreateKey:
    members: dict[str, object] = {"user": 1, "key": "k1", "name": "nightly"}
    members |= {"scopes": ("read",), "secret_hash": "hash"} | changes
    return CreateKey(**members)  # type: ignore[arg-type]


def test_a_user_makes_a_key() -> None:
    decision = given(ANN).when(create()).then(*made("k1"))
    assert (decision.actor, decision.sealedfor) == ("users/1", "users/1")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a" * 101])
def test_a_name_must_be_readable(name: str) -> None:
    given(ANN).when(create(name=name)).refused(Invalid)


def test_a_key_must_expire_in_the_future() -> None:
    given(ANN).at(10).when(create(expires_at=at(10))).refused(Invalid)
    event = KeyCreated(1, ("read",), "hash", at(11), personal=KeyName("nightly"))
    given(ANN).at(10).when(create(expires_at=at(11))).then("keys/k1", event)


def test_only_an_auditor_makes_a_key_that_audits() -> None:
    command = create(scopes=("audit",))
    given(ANN).when(command).refused(Invalid)
    event = KeyCreated(1, ("audit",), "hash", personal=KeyName("nightly"))
    given(ANN, ("users/1", UserRoleGranted("auditor"))).when(command).then("keys/k1", event)


def test_the_number_of_keys_is_limited_by_user() -> None:
    keys = [made(f"k{number}") for number in range(2, MAX_KEYS + 2)]
    given(ANN, *keys[1:]).when(create()).then(*made("k1"))
    given(ANN, *keys).when(create()).refused(QuotaExceeded)
    given(ANN, BOB, *keys).when(create(user=2)).then(*made("k1", user=2))


def test_only_the_owner_revokes_a_key() -> None:
    decision = given(ANN, BOB, made("k1")).when(RevokeKey(1, "k1"))
    assert decision.then("keys/k1", KeyRevoked()).revokes
    given(ANN, BOB, made("k1")).when(RevokeKey(2, "k1")).refused(NotFound)
    given(ANN, made("k1"), ("keys/k1", KeyRevoked())).when(RevokeKey(1, "k1")).refused(NotFound)


def test_a_use_is_recorded_once_an_hour() -> None:
    used: Happened = ("keys/k1", KeyUsed(personal=CURL))
    record = RecordKeyUse("k1", CURL)
    given(ANN, made("k1")).when(record).then(*used)
    given(ANN, made("k1"), used).at(3_602).when(record).refused(NotFound)
    given(ANN, made("k1"), used).at(3_603).when(record).then(*used)
    given(ANN).when(record).refused(NotFound)


def test_an_erased_user_has_no_keys() -> None:
    state = given(ANN, BOB, made("k1"), made("k2", 2), ("users/1", UserErased())).state
    assert list(state.keys.by_id) == ["k2"]
    assert state.keys.of_user(1) == []
