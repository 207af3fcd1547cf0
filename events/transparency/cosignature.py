"""Cosignatures of witnesses: C2SP tlog-cosignature, with Ed25519.

A cosignature states that at its time the checkpoint was the largest consistent tree of the log that
the witness had seen.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from events.transparency.signed_note import Note, Signature, decode_base64

_COSIGNATURE_V1: Final = b"\x04"
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_LARGEST_TIME: Final = (1 << 63) - 1


class Cosigner(msgspec.Struct, frozen=True):
    """The public key of a witness: its name and its 32 bytes."""

    name: str
    key: bytes

    @classmethod
    def parse(cls, vkey: str) -> Cosigner:
        """Parse a verifier key of cosignatures, ``NAME+ID+KEY``; raises `ValueError`."""
        name, _, rest = vkey.partition("+")
        number, _, data = rest.partition("+")
        try:
            key = decode_base64(data)
        except ValueError:
            key = b""
        cosigner = cls(name, key[1:])
        if not name or len(key) < 2 or any(char.isspace() for char in vkey):
            raise ValueError(f"{vkey!r} is not a verifier key")
        if key[:1] != _COSIGNATURE_V1:
            raise ValueError(
                f"{name}: keys of type {key[0]} are not supported, only cosignatures with Ed25519 "
                "(type 4)"
            )
        if len(key) != 33 or cosigner.id.hex() != number:
            raise ValueError(f"{name}: the id of the verifier key does not match its key")
        return cosigner

    @property
    def id(self) -> bytes:
        """The 4 bytes that distinguish keys of the same name."""
        hashed = self.name.encode() + b"\n" + _COSIGNATURE_V1 + self.key
        return sha256(hashed).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_COSIGNATURE_V1 + self.key).decode()}"

    def time_of(self, text: str, signature: Signature) -> int | None:
        """The time of a cosignature under a text, in seconds since 1970.

        ``None`` if the signature is of another key, or is not valid.
        """
        box = signature.box
        if signature.name != self.name or not box.startswith(self.id):
            return None
        if len(box) != _ID_BYTES + _TIME_BYTES + _SIGNATURE_BYTES:
            return None
        time = int.from_bytes(box[_ID_BYTES : _ID_BYTES + _TIME_BYTES], "big")
        if time > _LARGEST_TIME:
            return None
        message = f"cosignature/v1\ntime {time}\n{text}".encode()
        try:
            key = Ed25519PublicKey.from_public_bytes(self.key)
            key.verify(box[_ID_BYTES + _TIME_BYTES :], message)
        except InvalidSignature:
            return None
        return time

    def newest(self, note: Note) -> tuple[int, Signature] | None:
        """The newest valid cosignature under a checkpoint, after its time."""
        timed = ((self.time_of(note.text, one), one) for one in note.signatures)
        valid = [(time, one) for time, one in timed if time is not None]
        return max(valid, key=lambda found: found[0], default=None)
