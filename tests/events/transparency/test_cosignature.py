"""Cosignatures and their keys; the witness of the tests makes them with code of its own."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest

from events.transparency.cosignature import Cosigner
from events.transparency.signed_note import Note, Signature, Signer
from tests.eventapi.witnesses.witness_server import Witness

TEXT = "example.com/log\n7\n" + b64encode(bytes(32)).decode() + "\n"
OTHERS = [
    TEXT.replace("7", "8"),
    TEXT.replace("example.com", "example.org"),
    f"{TEXT}an extension\n",
    TEXT[:-1],
]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path, "witness.example/w1", bytes(range(32)))


def cosigned(witness: Witness, *times: int) -> Note:
    lines = "".join(witness.cosignature(TEXT, time) for time in times)
    return Note.parse(f"{TEXT}\n{lines}")


def test_the_newest_cosignature_counts(witness: Witness) -> None:
    cosigner = Cosigner.parse(witness.vkey)
    assert cosigner.vkey == witness.vkey
    note = cosigned(witness, 5, 1_700_000_000, 6)
    assert cosigner.newest(note) == (1_700_000_000, note.signatures[1])
    assert cosigner.newest(cosigned(witness, 0)) is not None
    assert cosigner.newest(cosigned(witness, (1 << 63) - 1)) is not None


def test_a_cosignature_is_valid_for_its_text_alone(witness: Witness) -> None:
    cosigner = Cosigner.parse(witness.vkey)
    (signature,) = cosigned(witness, 9).signatures
    assert cosigner.time_of(TEXT, signature) == 9
    assert [cosigner.time_of(other, signature) for other in OTHERS] == [None] * len(OTHERS)


def test_every_flipped_bit_makes_a_cosignature_invalid(witness: Witness) -> None:
    cosigner = Cosigner.parse(witness.vkey)
    (signature,) = cosigned(witness, 1_700_000_000).signatures
    for bit in range(len(signature.box) * 8):
        changed = bytearray(signature.box)
        changed[bit // 8] ^= 1 << bit % 8
        assert cosigner.time_of(TEXT, Signature(signature.name, bytes(changed))) is None
    assert cosigner.time_of(TEXT, Signature("witness.example/w2", signature.box)) is None
    assert cosigner.time_of(TEXT, Signature(signature.name, signature.box + b"\0")) is None
    assert cosigner.time_of(TEXT, Signature(signature.name, signature.box[:-1])) is None


def test_a_time_after_the_largest_one_is_invalid(witness: Witness) -> None:
    assert Cosigner.parse(witness.vkey).newest(cosigned(witness, 1 << 63)) is None


def test_a_plain_signature_of_the_same_key_is_no_cosignature() -> None:
    signer = Signer.from_seed(bytes(range(32)), "witness.example/")
    cosigner = Cosigner(signer.verifier.name, signer.verifier.key)
    (signature,) = signer.sign(TEXT).signatures
    padded = Signature(cosigner.name, cosigner.id + bytes(8) + signature.box[4:])
    assert cosigner.time_of(TEXT, padded) is None
    assert cosigner.id != signer.verifier.id


def vkey_of(kind: int, key: bytes, name: str = "w.example", number: str = "") -> str:
    data = bytes([kind]) + key
    found = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{number or found}+{b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("nonsense", "is not a verifier key"),
        ("", "is not a verifier key"),
        ("a+b+c", "is not a verifier key"),
        (vkey_of(4, bytes(32), name=""), "is not a verifier key"),
        (vkey_of(4, bytes(32)) + "\n", "is not a verifier key"),
        (vkey_of(1, bytes(32)), "keys of type 1 are not supported"),
        (vkey_of(6, bytes(1_312)), "keys of type 6 are not supported"),
        (vkey_of(4, bytes(31)), "does not match"),
        (vkey_of(4, bytes(32), number="00000000"), "does not match"),
    ],
)
def test_a_malformed_key_is_refused_with_its_reason(vkey: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cosigner.parse(vkey)
