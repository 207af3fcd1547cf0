"""Signed notes, checkpoints and proofs as in C2SP, with Ed25519.

The standards are C2SP signed-note, tlog-checkpoint, tlog-proof and tlog-witness.

A note is a text, a blank line, and signature lines. A checkpoint is a note whose text is the
origin of a log, its size and the root of its Merkle tree, one on each line.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_NAME = re.compile(r"[^\s+]+")
_SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_PROOF = "c2sp.org/tlog-proof@v1"
_ID_BYTES = 4


class Verifier(msgspec.Struct, frozen=True):
    """A public key that verifies signatures: its name and its 32 bytes."""

    name: str
    key: bytes

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Parse a verifier key, ``NAME+ID+KEY``; raises `ValueError`."""
        name, _, rest = vkey.strip().partition("+")
        number, _, data = rest.partition("+")
        key = decode_base64(data)
        verifier = cls(name, key[1:])
        if key[:1] != _ED25519 or len(key) != 33 or verifier.id.hex() != number:
            raise ValueError(f"{vkey!r} is not a verifier key of Ed25519")
        return verifier

    @property
    def id(self) -> bytes:
        """The 4 bytes that distinguish keys of the same name."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.key).decode()}"

    def verify(self, note: Note) -> bool:
        """Whether a note has a valid signature of this key."""
        for signature in note.signatures:
            if signature.name == self.name and signature.box.startswith(self.id):
                try:
                    key = Ed25519PublicKey.from_public_bytes(self.key)
                    key.verify(signature.box[_ID_BYTES:], note.text.encode())
                except InvalidSignature:
                    return False
                return True
        return False


class Signature(msgspec.Struct, frozen=True):
    """A signature line: a key's name, and its id followed by the signature."""

    name: str
    box: bytes

    def __str__(self) -> str:
        return f"\u2014 {self.name} {b64encode(self.box).decode()}\n"


class Note(msgspec.Struct, frozen=True):
    """A text that ends with a newline, and its signatures."""

    text: str
    signatures: Sequence[Signature] = ()

    @classmethod
    def parse(cls, content: str) -> Note:
        """Parse the text format; raises `ValueError`."""
        text, blank, lines = content.rpartition("\n\n")
        found = [_SIGNATURE.fullmatch(line) for line in lines.split("\n")[:-1]]
        if not blank or not lines.endswith("\n") or not found or None in found:
            raise ValueError("this is not a signed note")
        signatures = [Signature(match[1], decode_base64(match[2])) for match in found if match]
        return cls(text + "\n", signatures)

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


class Signer:
    """A private key with its name."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier(
            name, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    @classmethod
    def parse(cls, skey: str) -> Signer:
        """Parse a private key, ``PRIVATE+KEY+NAME+ID+KEY``; raises `ValueError`."""
        name, _, rest = skey.strip().removeprefix(_PRIVATE).partition("+")
        number, _, data = rest.partition("+")
        seed = decode_base64(data)
        if not skey.startswith(_PRIVATE) or seed[:1] != _ED25519 or not _NAME.fullmatch(name):
            raise ValueError("this is not a private key of Ed25519")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(seed[1:]))
        if signer.verifier.id.hex() != number:
            raise ValueError("the key does not match its id")
        return signer

    @classmethod
    def from_seed(cls, seed: bytes, prefix: str) -> Signer:
        """Make a key from 32 random bytes; its name is the prefix and part of its hash."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(prefix + sha256(public).hexdigest()[:16], key)

    @property
    def seed(self) -> bytes:
        """The 32 bytes that the key was made from."""
        return self._key.private_bytes_raw()

    @property
    def skey(self) -> str:
        """The private key as text."""
        seed = b64encode(_ED25519 + self.seed).decode()
        return f"{_PRIVATE}{self.verifier.name}+{self.verifier.id.hex()}+{seed}\n"

    def sign(self, text: str) -> Note:
        """Sign a text with this key."""
        box = self.verifier.id + self._key.sign(text.encode())
        return Note(text, [Signature(self.verifier.name, box)])


class TreeHead(msgspec.Struct, frozen=True):
    """The content of a checkpoint: origin, size and 32-byte root of a log."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, note: Note) -> TreeHead:
        """Parse the text of a checkpoint; lines after the third are ignored.

        Raises `ValueError`.
        """
        origin, size, root, *_ = (*note.text.split("\n"), "", "")
        digest = decode_base64(root)
        if not origin or not _SIZE.fullmatch(size) or len(digest) != 32:
            raise ValueError("this is not a checkpoint")
        return cls(origin, int(size), digest)

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class Inclusion(msgspec.Struct, frozen=True):
    """A proof that a leaf is in a log: index from 0, hashes to the root, checkpoint."""

    index: int
    hashes: Sequence[bytes]
    checkpoint: Note

    @classmethod
    def parse(cls, content: str) -> Inclusion:
        """Parse the text format; raises `ValueError`."""
        first, _, rest = content.partition("\n")
        head, blank, note = rest.partition("\n\n")
        index, *hashes = [line for line in head.split("\n") if not line.startswith("extra ")]
        word, _, number = index.partition(" ")
        if first != _PROOF or not blank or word != "index" or not _SIZE.fullmatch(number):
            raise ValueError("this is not a proof of inclusion")
        return cls(int(number), list(map(decode_base64, hashes)), Note.parse(note))

    def __str__(self) -> str:
        return f"{_PROOF}\nindex {self.index}\n{_lines(self.hashes)}\n{self.checkpoint}"


class Consistency(msgspec.Struct, frozen=True):
    """A proof that a log grew from an old size to that of a checkpoint.

    It is the body of add-checkpoint to a witness (C2SP tlog-witness).
    """

    old: int
    hashes: Sequence[bytes]
    checkpoint: Note

    @classmethod
    def parse(cls, content: str) -> Consistency:
        """Parse the text format; raises `ValueError`."""
        head, blank, note = content.partition("\n\n")
        old, *hashes = head.split("\n")
        word, _, number = old.partition(" ")
        if not blank or word != "old" or not _SIZE.fullmatch(number):
            raise ValueError("this is not a proof of consistency")
        return cls(int(number), list(map(decode_base64, hashes)), Note.parse(note))

    def __str__(self) -> str:
        return f"old {self.old}\n{_lines(self.hashes)}\n{self.checkpoint}"


def _lines(hashes: Sequence[bytes]) -> str:
    return "".join(f"{b64encode(digest).decode()}\n" for digest in hashes)


def decode_base64(text: str) -> bytes:
    """Decode canonical base64 (RFC 4648, section 3.5); raises `ValueError`."""
    found = b64decode(text, validate=True)
    if b64encode(found).decode() != text:
        raise ValueError(f"{text!r} is not canonical base64")
    return found
