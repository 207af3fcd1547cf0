"""Sealing of personal values: AES-256-GCM under a key of the user's own (NIST SP 800-38D)."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class Keyring(dict[str, AESGCM]):
    """The keys at hand, by subject (``users/7``), each as a cipher ready for use.

    Building the cipher costs more than using it, hence the cache.
    """

    def add(self, subject: str, key: bytes) -> None:
        """Take a key of 32 bytes in."""
        self[subject] = AESGCM(key)


def seal(cipher: AESGCM, nonce: bytes, clear: bytes, context: bytes) -> str:
    """base64url, unpadded, of nonce ‖ ciphertext ‖ tag, bound to ``context``."""
    box = nonce + cipher.encrypt(nonce, clear, context)
    return b2a_base64(box, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def unseal(cipher: AESGCM, sealed: str, context: bytes) -> bytes:
    """The clear bytes of what `seal` gave.

    Raises `ValueError` where the text, the key or the context is not that of the sealing.
    """
    box = a2b_base64(sealed.encode().translate(_FROM_URL) + b"==")
    try:
        return cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], context)
    except InvalidTag:
        raise ValueError("the seal is broken") from None
