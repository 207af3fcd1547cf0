"""Sealing of personal values: AES-256-GCM under a key per user (NIST SP 800-38D).

This is what makes crypto-shredding possible: the log holds only the sealed values, so destroying a
user's key (`events.vault.port`) erases them from the log and all of its copies, and changes no byte.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.errors import DamagedLog
from events.messages.errors import BROKEN_SEAL

KEY_BYTES = 32
NONCE_BYTES = 12
SALT_BYTES = 16

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


SEAL_IS_BROKEN = "the seal is broken"
"""The beginning of each finding about a seal that its key does not open."""

_DERIVING_NONCE = b"derived keys"
"""12 bytes that no seal has as its nonce, because those are random."""


class Keyring(dict[str, AESGCM]):
    """Available keys by subject (``users/7``), each as a cipher.

    Ciphers are cached because building one costs more than using it.
    """

    def add(self, subject: str, key: bytes) -> None:
        """Add a key of 32 bytes."""
        self[subject] = AESGCM(key)


def base64url(content: bytes) -> bytes:
    """The base64url of bytes, without padding (RFC 4648, section 5)."""
    return b2a_base64(content, newline=False).translate(_TO_URL, b"=")


def seal(cipher: AESGCM, nonce: bytes, clear: bytes, context: bytes) -> str:
    """Encrypt bytes, bound to ``context``: base64url of nonce ‖ ciphertext ‖ tag."""
    return base64url(nonce + cipher.encrypt(nonce, clear, context)).decode()


class BrokenSealError(ValueError):
    """The text, the key or the context is not the one of the sealing."""


def unseal(cipher: AESGCM, sealed: str, context: bytes) -> bytes:
    """Decrypt a text that `seal` returned; raises `BrokenSealError`.

    Raises `ValueError` for a text that is no seal.
    """
    box = a2b_base64(sealed.encode().translate(_FROM_URL) + b"==")
    try:
        return cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], context)
    except InvalidTag:
        raise BrokenSealError(SEAL_IS_BROKEN) from None


def damage_of(error: Exception, subject: str, position: int, offset: int) -> DamagedLog:
    """The damage of a line, in an intact chain, that is sealed for a subject."""
    reason = BROKEN_SEAL.fill(subject=subject) if isinstance(error, BrokenSealError) else str(error)
    return DamagedLog(reason, position=position, offset=offset)


def derive_key(cipher: AESGCM, purpose: bytes) -> bytes:
    """A key of 32 bytes for another purpose than seals, lost with the user's key.

    The key stream of AES-GCM for a nonce that encrypts nothing else, hashed with the purpose.
    """
    stream = cipher.encrypt(_DERIVING_NONCE, bytes(KEY_BYTES), None)[:KEY_BYTES]
    return hmac.digest(stream, purpose, "sha256")
