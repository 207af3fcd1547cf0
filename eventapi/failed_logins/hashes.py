"""Keyed hashes of the names and addresses of failed logins.

The hashes of unknown names, and of the addresses they came from, follow from the secret key of the
server. The hash of an address at a user's account follows from the user's own key: once that is
destroyed, not even the secret key and a list of all addresses reveal it.
"""

from __future__ import annotations

import hmac
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.sealing import derive_key

_HEX_DIGITS: Final = 32
_PURPOSE: Final = b"addresses of failed logins"


def name_hash(secret: bytes, source: str, name: str) -> str:
    """The hash of an unknown name, in hex; ``source`` is that of the log."""
    return _hash(secret, ["failed login", "name", source, name])


def address_hash(secret: bytes, source: str, address: str) -> str:
    """The hash of an address that tried unknown names, in hex."""
    return _hash(secret, ["failed login", "address", source, address])


def address_hash_of_user(cipher: AESGCM, address: str) -> str:
    """The hash of an address at the account of the user with this key, in hex."""
    return _hash(derive_key(cipher, _PURPOSE), [address])


def _hash(key: bytes, parts: list[str]) -> str:
    return hmac.digest(key, msgspec.json.encode(parts), "sha256").hex()[:_HEX_DIGITS]
