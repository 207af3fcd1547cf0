"""The content of a signing store."""

from __future__ import annotations

from events.transparency.signed_note import Signer, TreeHead
from events.transparency.signing.port import SigningState

OWN, OTHER = (Signer.from_seed(bytes([number] * 32), "eventapi/") for number in (1, 2))


def head(size: int) -> TreeHead:
    return TreeHead(OWN.verifier.name, size, bytes(32))


def test_a_checkpoint_counts_if_the_key_signed_it_and_it_is_recorded() -> None:
    note = OWN.sign(str(head(7)))
    for recorded in (7, 8):
        assert SigningState("confirmed", OWN, head(recorded)).has_recorded(note)
    for state in (
        SigningState("confirmed", OWN, head(6)),
        SigningState("confirmed", OWN),
        SigningState("keyless", None, head(7)),
        SigningState("confirmed", OTHER, head(7)),
    ):
        assert not state.has_recorded(note)
