"""The Merkle tree is that of RFC 6962, and a proof proves only its own statement."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.transparency.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root_of,
    split,
    uncovered_ranges,
)
from tests.events.transparency.proof_checks import is_consistent, root_from_inclusion

LEAVES = [leaf_hash(bytes([number])) for number in range(200)]
SIZES = st.integers(0, len(LEAVES))


def mth(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash as RFC 6962, section 2.1 defines it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    middle = split(len(leaves))
    return node_hash(mth(leaves[:middle]), mth(leaves[middle:]))


def subproof(old: int, leaves: Sequence[bytes], is_whole: bool) -> list[bytes]:
    """SUBPROOF as RFC 6962, section 2.1.2 defines it."""
    if old == len(leaves):
        return [] if is_whole else [mth(leaves)]
    middle = split(len(leaves))
    if old <= middle:
        return [*subproof(old, leaves[:middle], is_whole), mth(leaves[middle:])]
    return [*subproof(old - middle, leaves[middle:], False), mth(leaves[:middle])]


def inclusion(index: int, size: int) -> list[bytes]:
    return [mth(LEAVES[start:end]) for start, end in inclusion_ranges(index, size)]


def consistency(old: int, size: int) -> list[bytes]:
    return [mth(LEAVES[start:end]) for start, end in consistency_ranges(old, size)]


def test_known_hashes() -> None:
    assert EMPTY_ROOT.hex().startswith("e3b0c442")
    assert leaf_hash(b"").hex().startswith("6e340b9c")
    assert leaf_hash(b"L123456").hex().startswith("395aa064")
    assert root_of([]) == EMPTY_ROOT


@given(SIZES)
def test_the_root_is_the_tree_hash(size: int) -> None:
    assert root_of(LEAVES[:size]) == mth(LEAVES[:size])
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.add(leaf)
    assert (frontier.size, frontier.root) == (size, mth(LEAVES[:size]))


@given(SIZES.filter(bool), st.data())
def test_an_inclusion_proof_is_valid_for_its_leaf_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion(index, size), mth(LEAVES[:size])
    assert root_from_inclusion(index, size, LEAVES[index], proof) == root
    assert root_from_inclusion(index, size, leaf_hash(b"another"), proof) != root
    for at in range(len(proof)):
        broken = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert root_from_inclusion(index, size, LEAVES[index], broken) != root
    with pytest.raises(ValueError, match="argument 2"):
        root_from_inclusion(index, size, LEAVES[index], [*proof, root])
    with pytest.raises(ValueError, match="no leaf"):
        root_from_inclusion(size, size, LEAVES[index], proof)


@given(SIZES, SIZES)
def test_a_consistency_proof_is_valid_for_its_roots_only(one: int, other: int) -> None:
    old, size = sorted((one, other))
    proof, before, after = consistency(old, size), mth(LEAVES[:old]), mth(LEAVES[:size])
    if old:
        assert proof == subproof(old, LEAVES[:size], True)
    assert is_consistent(old, size, before, after, proof)
    assert not is_consistent(old, size, before, after, [*proof, before])
    if size:
        assert not is_consistent(old, size, before, bytes(32), proof) or old == 0
    assert not is_consistent(old, size, bytes(32), after, proof)
    assert not is_consistent(size + 1, size, before, after, proof)
    for at in range(len(proof)):
        broken = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not is_consistent(old, size, before, after, broken)


@given(
    st.integers(1, len(LEAVES)).flatmap(
        lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1)))
    )
)
def test_leaves_and_the_subtrees_between_them_make_the_root(case: tuple[int, set[int]]) -> None:
    size, indexes = case
    ranges = list(uncovered_ranges(sorted(indexes), size))

    parts = {(index, index + 1): LEAVES[index] for index in indexes}
    parts |= {(start, end): mth(LEAVES[start:end]) for start, end in ranges}

    def root(start: int, end: int) -> bytes:
        if (start, end) in parts:
            return parts.pop((start, end))
        middle = start + split(end - start)
        return node_hash(root(start, middle), root(middle, end))

    assert ranges == sorted(ranges)
    assert root(0, size) == mth(LEAVES[:size])
    assert parts == {}


def test_nothing_is_between_the_leaves_of_a_whole_tree() -> None:
    assert list(uncovered_ranges(range(100), 100)) == []
    assert list(uncovered_ranges([], 100)) == [(0, 100)]
