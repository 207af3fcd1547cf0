"""API keys: ``eak_ID_SECRET_CHECKSUM``, sent as a bearer token.

The prefix and the checksum let scanners recognise a key that was published by mistake, and let the
server refuse a mistyped one without a search. The secret has 256 random bits, so its SHA-256 reveals
nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final
from zlib import crc32

import msgspec

from events.errors import Unauthenticated

PREFIX: Final = "eak_"
ID_BYTES: Final = 10
SECRET_BYTES: Final = 32

_KEY: Final = re.compile(r"(eak_([0-9a-f]{20})_([0-9a-f]{64}))_([0-9a-f]{8})")


class PresentedKey(msgspec.Struct, frozen=True):
    """A key of the right form, which may be unknown or revoked."""

    id: str
    secret_hash: str

    def matches(self, secret_hash: str) -> bool:
        """Whether the secret is the one with this hash, in constant time."""
        return hmac.compare_digest(self.secret_hash, secret_hash)


def api_key(number: str, secret: bytes) -> str:
    """The text of a key."""
    text = f"{PREFIX}{number}_{secret.hex()}"
    return f"{text}_{_checksum(text)}"


def secret_hash(secret: bytes) -> str:
    """The SHA-256 of a secret in hex, which the log stores."""
    return hashlib.sha256(secret).hexdigest()


def parse_key(text: str) -> PresentedKey:
    """The parts of a key; raises `Unauthenticated` for a text of another form."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(match[1]) != match[4]:
        raise Unauthenticated("the API key is not good")
    return PresentedKey(match[2], secret_hash(bytes.fromhex(match[3])))


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"
