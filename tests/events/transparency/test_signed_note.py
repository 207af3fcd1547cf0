"""Signed notes, checkpoints and proofs have the format of other implementations."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.transparency.signed_note import (
    Consistency,
    Inclusion,
    Note,
    Signature,
    Signer,
    TreeHead,
    Verifier,
)

SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\n"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    TEXT + "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of golang.org/x/mod/sumdb/note."""

OTHER = Signer.from_seed(bytes(range(32)), "other/")
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=5)
HEAD = TreeHead("an origin", 7, bytes(range(32)))


def test_the_example_of_the_standard() -> None:
    signer = Signer.parse(SKEY)
    assert str(signer.sign(TEXT)) == NOTE
    assert signer.verifier == Verifier.parse(VKEY)
    assert signer.verifier.vkey == VKEY
    assert signer.skey == SKEY
    assert str(Note.parse(NOTE)) == NOTE
    assert Verifier.parse(VKEY).verify(Note.parse(NOTE))


def test_the_signature_of_another_key_does_not_verify() -> None:
    note = Note.parse(NOTE)
    assert not OTHER.verifier.verify(note)
    assert not OTHER.verifier.verify(Note(TEXT))
    forged = Note(TEXT, [Signature(OTHER.verifier.name, note.signatures[0].box)])
    assert not OTHER.verifier.verify(forged)


@given(st.integers(0, len(TEXT) * 8 - 1))
def test_a_note_with_a_flipped_bit_does_not_verify(bit: int) -> None:
    content = bytearray(TEXT.encode())
    content[bit // 8] ^= 1 << bit % 8
    note = Note(content.decode("latin-1"), Note.parse(NOTE).signatures)
    assert not Verifier.parse(VKEY).verify(note)


def test_a_note_with_several_signatures_verifies_for_each_key() -> None:
    note = Note(TEXT, [*Note.parse(NOTE).signatures, *OTHER.sign(TEXT).signatures])
    assert Note.parse(str(note)) == note
    assert all(one.verify(note) for one in (Verifier.parse(VKEY), OTHER.verifier))


@pytest.mark.parametrize(
    "content",
    ["", "\n", TEXT, TEXT + "\n", NOTE[:-1], NOTE.replace("\u2014", "-"), NOTE + "x\n", "\n\n\n"],
)
def test_an_invalid_note_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="not a signed note"):
        Note.parse(content)


@pytest.mark.parametrize(
    "vkey", ["", "x", VKEY[:-4], VKEY.replace("c74f", "c74e"), VKEY + "AAAA", "n+c74f20a3+AQ=="]
)
def test_an_invalid_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64 has messages of its own
        Verifier.parse(vkey)


@pytest.mark.parametrize("skey", ["", "x", SKEY.replace("c74f", "c74e"), SKEY[8:], SKEY[:-9]])
def test_an_invalid_private_key_is_refused(skey: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64 has messages of its own
        Signer.parse(skey)


@pytest.mark.parametrize(
    "text", ["", "o\n", "o\n1\n", "o\n01\nAA==\n", "\n1\nAA==\n", "o\n-1\nAA==\n", "o\n1\nAA==\n"]
)
def test_an_invalid_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        TreeHead.parse(Note(text))


def test_a_checkpoint_has_origin_size_and_root() -> None:
    assert TreeHead.parse(OTHER.sign(str(HEAD))) == HEAD
    assert TreeHead.parse(OTHER.sign(str(HEAD) + "an extension\n")) == HEAD


@given(st.integers(0, 2**40), HASHES)
def test_proofs_survive_a_round_trip(number: int, hashes: list[bytes]) -> None:
    checkpoint = OTHER.sign(str(HEAD))
    inclusion = Inclusion(number, hashes, checkpoint)
    assert Inclusion.parse(str(inclusion)) == inclusion
    consistency = Consistency(number, hashes, checkpoint)
    assert Consistency.parse(str(consistency)) == consistency


def test_an_invalid_proof_is_refused() -> None:
    whole = str(Inclusion(1, [], OTHER.sign(str(HEAD))))
    for content in ("", whole.replace("@v1", "@v2"), whole.replace("index", "at"), whole[:40]):
        with pytest.raises(ValueError):  # noqa: PT011 - the note has messages of its own
            Inclusion.parse(content)
    with pytest.raises(ValueError, match="consistency"):
        Consistency.parse(whole)


def test_extra_data_of_a_proof_is_ignored() -> None:
    whole = str(Inclusion(1, [], OTHER.sign(str(HEAD))))
    assert Inclusion.parse(whole.replace("index", "extra AAAA\nindex", 1)).index == 1


@pytest.mark.parametrize("kind", [Inclusion, Consistency])
def test_no_bit_of_a_proof_can_change_unnoticed(kind: type[Inclusion | Consistency]) -> None:
    """Not even the unused bits at the end of base64."""
    proof = kind(2, [bytes(32), bytes(range(32))], OTHER.sign(str(HEAD)))
    content = str(proof).encode()
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        with suppress(ValueError):
            assert kind.parse(changed.decode()) != proof, changed
