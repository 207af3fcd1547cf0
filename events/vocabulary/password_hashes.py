"""Stored password hashes: argon2 (PHC string format) and bcrypt, with bounds.

::

    $argon2id$v=19$m=19456,t=2,p=1$<salt>$<digest>      base64 without padding
    $2b$12$<22 characters of salt><31 of digest>        bcrypt's own base64

A hash states its own cost, and the libraries accept any: ``t=4000000000`` would keep a core busy for
hours. Therefore a stored hash must pass `hash_kind` or `check_hash` before a password is checked
against it. The bounds allow about a second of one core.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Final

import msgspec

MAX_MEMORY_KIB: Final = 256 * 1024
MAX_PASSES: Final = 256
MAX_WORK_KIB: Final = 1024 * 1024
"""For argon2, memory times passes: a core fills about 1 GiB a second."""

MAX_LANES: Final = 16
MIN_BCRYPT_COST: Final = 4
MAX_BCRYPT_COST: Final = 14
"""bcrypt's cost is the logarithm of its rounds: one more doubles the time."""

_KIB_PER_BCRYPT_ROUND: Final = 64
"""Memory that argon2 fills in about the time of one bcrypt round, to compare costs."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$", re.ASCII)
_BCRYPT_REST: Final = re.compile(r"[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)
_N: Final = "([1-9][0-9]{0,9})"
_ARGON2: Final = re.compile(
    rf"\$(argon2(?:id|i|d))\$(?:v=(16|19)\$)?m={_N},t={_N},p={_N}\$", re.ASCII
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+", re.ASCII)
_SALT_BYTES: Final = range(8, 65)
_DIGEST_BYTES: Final = range(16, 65)
_PREFIX_BYTES: Final = 80
_KINDS_CACHED: Final = 256


class HashKind(msgspec.Struct, frozen=True):
    """A hash function with its costs: the part of a hash before the salt.

    Checking a password costs the same for all hashes of one kind. ``work`` compares kinds: KiB of
    memory times passes.
    """

    prefix: str
    work: int

    @property
    def is_bcrypt(self) -> bool:
        """Whether the hash function is bcrypt."""
        return self.prefix.startswith("$2")

    @property
    def decoy(self) -> str:
        """A hash of this kind that no password matches, so that all logins cost the same."""
        if self.is_bcrypt:
            return self.prefix + "." * 53
        return f"{self.prefix}{'A' * 22}${'A' * 43}"


def hash_kind(stored: str) -> HashKind | None:
    """The kind of a hash; ``None`` if it cannot be checked or would cost too much.

    Salt and digest are not checked.
    """
    kind = _kind(_prefix(stored))
    return kind if isinstance(kind, HashKind) else None


def check_hash(stored: str) -> HashKind:
    """The kind of a hash whose every part is valid; raises `ValueError` if one is not."""
    prefix = _prefix(stored)
    kind = _kind(prefix)
    if isinstance(kind, str):
        raise ValueError(kind)  # noqa: TRY004 - the text of the hash is wrong, not a type
    if not _is_salt_and_digest(stored[len(prefix) :], kind):
        raise ValueError(_NOT_A_HASH)
    return kind


_NOT_A_HASH: Final = "must be a bcrypt or an argon2 hash"


def _prefix(stored: str) -> str:
    if stored.startswith("$2"):
        return stored[:7]
    end = stored.rfind("$", 0, stored.rfind("$")) + 1
    return stored[:end] if end <= _PREFIX_BYTES else ""


@lru_cache(_KINDS_CACHED)
def _kind(prefix: str) -> HashKind | str:
    """The kind, or a text that states what is wrong."""
    if bcrypt := _BCRYPT.fullmatch(prefix):
        rounds = int(bcrypt[1])
        if not MIN_BCRYPT_COST <= rounds <= MAX_BCRYPT_COST:
            return (
                f"has bcrypt's cost {rounds}; {MIN_BCRYPT_COST} to {MAX_BCRYPT_COST} are accepted"
            )
        # $2a$ and $2y$ are the same function under older names.
        return HashKind(f"$2b${rounds:02}$", _KIB_PER_BCRYPT_ROUND << rounds)
    if argon2 := _ARGON2.fullmatch(prefix):
        memory, passes, lanes = int(argon2[3]), int(argon2[4]), int(argon2[5])
        if fault := _excess(memory, passes, lanes):
            return fault
        version = argon2[2] or "16"  # The format's default.
        return HashKind(
            f"${argon2[1]}$v={version}$m={memory},t={passes},p={lanes}$", memory * passes
        )
    return _NOT_A_HASH


def _excess(memory: int, passes: int, lanes: int) -> str:
    """Which of argon2's costs is out of bounds, or an empty text."""
    if lanes > MAX_LANES:
        return f"has argon2's p={lanes}; the most is {MAX_LANES}"
    if memory > MAX_MEMORY_KIB:
        return f"has argon2's m={memory} (KiB); the most is {MAX_MEMORY_KIB}"
    if memory < 8 * lanes:
        return f"has argon2's m={memory} (KiB); p={lanes} needs {8 * lanes}"
    if passes > MAX_PASSES:
        return f"has argon2's t={passes}; the most is {MAX_PASSES}"
    if memory * passes > MAX_WORK_KIB:
        return f"has argon2's m={memory} and t={passes}; the most for m*t is {MAX_WORK_KIB}"
    return ""


def _is_salt_and_digest(rest: str, kind: HashKind) -> bool:
    """Whether the rest of a hash, salt and digest, is well-formed."""
    if kind.is_bcrypt:
        return _BCRYPT_REST.fullmatch(rest) is not None
    salt, _, digest = rest.partition("$")
    return _decoded_bytes(salt) in _SALT_BYTES and _decoded_bytes(digest) in _DIGEST_BYTES


def _decoded_bytes(text: str) -> int | None:
    """The number of bytes in canonical base64 without padding; else ``None``."""
    if not _BASE64.fullmatch(text) or len(text) % 4 == 1:
        return None
    raw = b64decode(text + "=" * (-len(text) % 4))
    return len(raw) if b64encode(raw).rstrip(b"=").decode() == text else None
