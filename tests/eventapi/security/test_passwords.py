"""Passwords: hashed by argon2id, by a bounded number of threads."""

from __future__ import annotations

import asyncio
import threading

import bcrypt
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from eventapi.security.fair_queue import Caller
from eventapi.security.passwords import MAX_KINDS, OWASP_HASHER, Passwords
from events.errors import Overloaded
from events.vocabulary.password_hashes import check_hash

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def test_the_hash_is_argon2id_as_owasp_recommends() -> None:
    parameters = extract_parameters(OWASP_HASHER.hash("x"))
    assert parameters.type is Type.ID
    assert (parameters.time_cost, parameters.memory_cost) == (2, 19_456)
    assert parameters.salt_len >= 16


def test_a_hash_matches_its_own_password_only() -> None:
    passwords = Passwords(CHEAP)

    async def check() -> list[str | None]:
        stored = await passwords.hash("x" * 1024)
        assert stored != await passwords.hash("x" * 1024)
        tried = ["x" * 1024, "x" * 1023, "x" * 1025, "X" * 1024, "", "x" * 72, "x" * 1024 + "\0"]
        return [await passwords.verify(stored, password) for password in tried]

    assert asyncio.run(check()) == ["x" * 1024] + [None] * 6
    passwords.close()


def test_a_refusal_costs_the_same_number_of_checks_with_any_number_of_kinds() -> None:
    """Beyond `MAX_KINDS`, the kind of the stored hash replaces the cheapest."""
    passwords = Passwords(CHEAP)
    hashes = [PasswordHasher(1, 8 * number, 1).hash("x") for number in range(1, 13)]
    kinds = [check_hash(stored) for stored in hashes]
    for stored in (None, *hashes):
        kind = None if stored is None else check_hash(stored)
        plan = passwords._kinds_to_check(kind, kinds)
        assert len(plan) == MAX_KINDS
        assert kind is None or kind in plan
    passwords.close()


@pytest.mark.parametrize("stored", [None, "", "x", "$argon2id$", "$2b$", "$2b$12$short", "\0"])
def test_an_invalid_hash_matches_no_password(stored: str | None) -> None:
    passwords = Passwords(CHEAP)
    for password in ("", "x", stored or "", "no user has this password"):
        assert asyncio.run(passwords.verify(stored, password)) is None
    passwords.close()


def test_a_bcrypt_hash_is_verified_and_needs_a_rehash() -> None:
    passwords = Passwords(CHEAP)
    stored = bcrypt.hashpw(b"old password", bcrypt.gensalt(4)).decode()
    assert asyncio.run(passwords.verify(stored, "old password"))
    assert not asyncio.run(passwords.verify(stored, "old passwords"))
    assert not asyncio.run(passwords.verify(stored, "old password\0"))
    assert passwords.needs_rehash(stored, "old password")
    passwords.close()


@pytest.mark.parametrize(("length", "is_renewed"), [(71, True), (72, False), (73, False)])
def test_a_bcrypt_hash_of_a_possibly_longer_password_is_not_rehashed(
    length: int, is_renewed: bool
) -> None:
    passwords = Passwords(CHEAP)
    stored = bcrypt.hashpw(b"x" * min(length, 72), bcrypt.gensalt(4)).decode()
    assert passwords.needs_rehash(stored, "x" * length) is is_renewed
    passwords.close()


def test_a_hash_with_other_parameters_needs_a_rehash() -> None:
    passwords = Passwords(CHEAP)
    assert passwords.needs_rehash(
        PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("x"), "x"
    )
    assert not passwords.needs_rehash(CHEAP.hash("x"), "x")
    assert not passwords.needs_rehash(CHEAP.hash("é"), "é")
    assert passwords.needs_rehash(CHEAP.hash("e\u0301"), "e\u0301")
    passwords.close()


class StuckHasher(PasswordHasher):
    """A hasher that blocks until its gate is opened."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.gate = threading.Event()
        self.gate.set()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        assert self.gate.wait(10)
        return super().hash(password, salt=salt)


async def test_the_number_of_waiting_passwords_is_bounded() -> None:
    hasher = StuckHasher()
    passwords = Passwords(hasher, workers=2, queue=3)
    hasher.gate.clear()
    waiting = [
        asyncio.create_task(passwords.hash("x", Caller("login", str(number))))
        for number in range(5)
    ]
    await asyncio.sleep(0)
    assert passwords.waiting == 5
    with pytest.raises(Overloaded):
        await passwords.hash("x")
    with pytest.raises(Overloaded):
        await passwords.verify(None, "x", Caller("login", "5"))
    hasher.gate.set()
    assert len(await asyncio.gather(*waiting)) == 5
    assert await passwords.hash("x")
    assert passwords.waiting == 0
    passwords.close()


async def test_the_event_loop_runs_while_a_password_is_hashed() -> None:
    hasher = StuckHasher()
    passwords = Passwords(hasher)
    hasher.gate.clear()
    hashing = asyncio.create_task(passwords.hash("x"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not hashing.done()
    hasher.gate.set()
    await hashing
    passwords.close()
