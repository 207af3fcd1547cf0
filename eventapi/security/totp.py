"""Codes of the second factor: TOTP (RFC 6238), and recovery codes."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from pyotp import TOTP
from pyotp.utils import strings_equal

SECRET_BYTES: Final = 20
"""The length of the key of HMAC-SHA1 that RFC 4226, section 4, recommends."""

STEP_SECONDS: Final = 30
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 10
"""80 random bits, so a code cannot be guessed, and its hash reveals nothing."""

_ISSUER: Final = "eventapi"
_GROUP: Final = 4


def secret_text(secret: bytes) -> str:
    """A secret in base32, as authenticator apps accept it."""
    return base64.b32encode(secret).decode()


def secret_uri(secret: str, username: str) -> str:
    """The ``otpauth:`` URI of a secret, which authenticator apps read from a QR code."""
    return TOTP(secret).provisioning_uri(name=username, issuer_name=_ISSUER)


def matching_step(secret: str, code: str, now: float) -> int | None:
    """The time step whose code this is: the current one or a neighbour; else ``None``.

    ``now`` is in seconds since 1970.
    """
    current = int(now) // STEP_SECONDS
    digits = code.replace(" ", "")
    codes = TOTP(secret)
    matched = [
        step
        for step in (current - 1, current, current + 1)
        if strings_equal(codes.at(step * STEP_SECONDS), digits)
    ]
    return matched[-1] if matched else None


def recovery_code(random: bytes) -> str:
    """A recovery code in groups of four characters."""
    text = base64.b32encode(random).decode().lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def recovery_hash(code: str) -> str:
    """The SHA-256 of a recovery code in hex; case, spaces and hyphens are ignored."""
    text = code.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(text.encode()).hexdigest()
