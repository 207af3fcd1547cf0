"""Hashes of well-known software are accepted, hashes that cost too much are not."""

from __future__ import annotations

import bcrypt
import pytest
from argon2 import PasswordHasher, profiles
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from events.vocabulary.password_hashes import (
    MAX_BCRYPT_COST,
    MAX_LANES,
    MAX_MEMORY_KIB,
    MAX_PASSES,
    MAX_WORK_KIB,
    MIN_BCRYPT_COST,
    check_hash,
    hash_kind,
)

SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA", "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
REST = "EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"


def argon2(memory: int = 8, passes: int = 1, lanes: int = 1) -> str:
    return f"$argon2id$v=19$m={memory},t={passes},p={lanes}${SALT}${DIGEST}"


@pytest.mark.parametrize(
    "hasher",
    [
        PasswordHasher(),
        PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY),
        PasswordHasher(1, 16, 1, type=Type.I),
        PasswordHasher(1, 16, 1, type=Type.D),
    ],
    ids=["argon2-cffi", "RFC 9106", "argon2i", "argon2d"],
)
def test_new_hashes_of_argon2_are_accepted(hasher: PasswordHasher) -> None:
    stored = hasher.hash("x")

    assert check_hash(stored) == hash_kind(stored)


@pytest.mark.parametrize(
    "stored",
    [
        argon2(102_400, 2, 8),  # passlib's default
        argon2(65_536, 4),  # PHP's default
        argon2(262_144, 3),  # libsodium's "moderate"
        f"$argon2i$m=8,t=1,p=1${SALT}${DIGEST}",  # version 1.0 of argon2, without a version
        f"$2a$10${REST}",  # Java's and Ruby's
        f"$2b$12${REST}",  # Python's
        f"$2y$10${REST}",  # PHP's
    ],
    ids=["passlib", "PHP", "libsodium", "argon2 1.0", "bcrypt 2a", "bcrypt 2b", "bcrypt 2y"],
)
def test_hashes_of_well_known_software_are_accepted(stored: str) -> None:
    assert check_hash(stored) == hash_kind(stored)


@pytest.mark.parametrize(
    ("maximum", "excess", "bound"),
    [
        (argon2(MAX_MEMORY_KIB), argon2(MAX_MEMORY_KIB + 1), f"{MAX_MEMORY_KIB}"),
        (argon2(8, MAX_PASSES), argon2(8, MAX_PASSES + 1), f"{MAX_PASSES}"),
        (argon2(MAX_MEMORY_KIB, 4), argon2(MAX_MEMORY_KIB, 5), f"{MAX_WORK_KIB}"),
        (argon2(256, 1, MAX_LANES), argon2(256, 1, MAX_LANES + 1), f"{MAX_LANES}"),
        (argon2(64, 1, 8), argon2(63, 1, 8), "needs 64"),
        (
            f"$2b${MAX_BCRYPT_COST}${REST}",
            f"$2b${MAX_BCRYPT_COST + 1}${REST}",
            f"{MAX_BCRYPT_COST}",
        ),
        (
            f"$2b$0{MIN_BCRYPT_COST}${REST}",
            f"$2b$0{MIN_BCRYPT_COST - 1}${REST}",
            f"{MIN_BCRYPT_COST}",
        ),
    ],
)
def test_a_cost_is_accepted_up_to_its_bound_and_refused_beyond(
    maximum: str, excess: str, bound: str
) -> None:
    check_hash(maximum)
    with pytest.raises(ValueError, match=bound):
        check_hash(excess)
    assert hash_kind(excess) is None


def test_hashes_that_differ_in_salt_and_digest_only_are_of_one_kind() -> None:
    assert hash_kind(f"$2a$10${REST}") == hash_kind(f"$2y$10${'.' * 53}")
    assert hash_kind(PasswordHasher().hash("x")) == hash_kind(PasswordHasher().hash("y"))
    assert hash_kind(argon2(16)) != hash_kind(argon2(24))


@pytest.mark.parametrize(
    "stored", [f"$2a$04${REST}", argon2(16, 2), f"$argon2d$m=8,t=1,p=1${SALT}${DIGEST}"]
)
def test_a_decoy_is_a_hash_of_its_kind_that_no_password_matches(stored: str) -> None:
    kind = check_hash(stored)
    assert check_hash(kind.decoy) == kind
    if kind.is_bcrypt:
        assert not bcrypt.checkpw(b"x", kind.decoy.encode())
    else:
        with pytest.raises(VerifyMismatchError):
            PasswordHasher().verify(kind.decoy, "x")


PIECES = ["$", "argon2id", "argon2", "v=19", "m=8", "m=8,t=1,p=1", ",", "=", "2b", "04", "é", "\0"]


@given(
    st.text()
    | st.lists(st.sampled_from([*PIECES, SALT, DIGEST, REST]), max_size=9).map("".join)
    | st.tuples(st.sampled_from([argon2(), f"$2b$04${REST}"]), st.integers(0, 90), st.text()).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
)
def test_any_text_is_refused_or_accepted_by_the_hash_libraries_too(
    stored: str,
) -> None:
    try:
        kind = check_hash(stored)
    except ValueError:
        return
    assert stored.isascii()
    if kind.is_bcrypt:
        bcrypt.checkpw(b"x", stored.encode())
    elif kind.work <= 1024:
        with pytest.raises(VerifyMismatchError):
            PasswordHasher().verify(stored, "x")
