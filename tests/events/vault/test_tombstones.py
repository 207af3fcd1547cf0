"""Which subjects of a vault are erased, and which keys a copy may bring back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.vault.tombstones import UNKNOWN, VaultContents, fingerprint, merge

ANN, BEN = b"a" * 32, b"b" * 32
NOTHING = VaultContents()


def contents(key: bytes | None, *fingerprints: bytes) -> VaultContents:
    """Make the contents of a vault with one user."""
    tombstones = {"users/6": frozenset(fingerprints)} if fingerprints else {}
    return VaultContents({} if key is None else {"users/6": key}, tombstones)


@pytest.mark.parametrize(
    ("vault", "is_erased"),
    [
        (contents(None), False),
        (contents(ANN), False),
        (contents(None, fingerprint(ANN)), True),
        (contents(None, UNKNOWN), True),
        (contents(ANN, fingerprint(ANN)), True),
        (contents(BEN, fingerprint(ANN)), False),
        (contents(BEN, UNKNOWN), False),
    ],
    ids=[
        "unknown",
        "alive",
        "destroyed",
        "destroyed by an earlier version",
        "put back",
        "number used again",
        "number used again after an earlier version",
    ],
)
def test_a_subject_is_erased_if_its_only_key_is_destroyed(
    vault: VaultContents, is_erased: bool
) -> None:
    assert vault.erased == ({"users/6"} if is_erased else frozenset())


@pytest.mark.parametrize(
    ("own", "copy", "key"),
    [
        (contents(None), contents(ANN), ANN),
        (contents(ANN), contents(None), ANN),
        (contents(ANN), contents(BEN), BEN),
        (contents(None, fingerprint(ANN)), contents(ANN), None),
        (contents(ANN), contents(None, fingerprint(ANN)), None),
        (contents(None, UNKNOWN), contents(ANN), None),
        (contents(BEN, fingerprint(ANN)), contents(ANN), BEN),
        (contents(None, fingerprint(ANN)), contents(BEN), BEN),
        (contents(BEN, UNKNOWN), contents(ANN), BEN),
        (contents(None, UNKNOWN), contents(BEN, UNKNOWN), BEN),
    ],
)
def test_a_merge_with_a_copy_keeps_the_right_key(
    own: VaultContents, copy: VaultContents, key: bytes | None
) -> None:
    assert merge(own, copy).keys.get("users/6") == key


_subjects = st.sampled_from(["users/1", "users/2"])
_keys = st.sampled_from([ANN, BEN])
_prints = st.sampled_from([UNKNOWN, fingerprint(ANN), fingerprint(BEN)])
_tombstones: st.SearchStrategy[Mapping[str, frozenset[bytes]]] = st.dictionaries(
    _subjects, st.frozensets(_prints, min_size=1)
)
_vaults = st.builds(VaultContents, st.dictionaries(_subjects, _keys), _tombstones)


@given(_vaults, _vaults)
def test_law_a_merge_forgets_no_tombstone_and_brings_back_no_destroyed_key(
    own: VaultContents, copy: VaultContents
) -> None:
    both = merge(own, copy)
    for vault in (own, copy):
        for subject, fingerprints in vault.tombstones.items():
            assert fingerprints <= both.tombstones[subject]
    for subject, key in both.keys.items():
        assert fingerprint(key) not in both.tombstones.get(subject, ())
        assert key in {own.keys.get(subject), copy.keys.get(subject)}


@given(_vaults)
def test_law_a_merge_with_nothing_new_changes_no_erasure(
    vault: VaultContents,
) -> None:
    for both in (merge(vault, NOTHING), merge(NOTHING, vault), merge(vault, vault)):
        assert both.erased == vault.erased
