"""Check proofs of inclusion and of consistency, as a client of the log does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events.transparency.merkle import EMPTY_ROOT, inclusion_ranges, node_hash


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Iterable[bytes]) -> bytes:
    """The root from a leaf's hash and its proof (RFC 9162, section 2.1.3.2).

    Raises `ValueError` if the proof has the wrong length.
    """
    ranges = inclusion_ranges(index, size)
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    found = leaf
    for (start, _), sibling in zip(ranges, proof, strict=True):
        found = node_hash(sibling, found) if start <= index else node_hash(found, sibling)
    return found


def is_consistent(
    old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that one tree begins with another one.

    ``root`` is that of the tree of ``size`` leaves, ``old_root`` that of its first ``old`` leaves
    (RFC 9162, section 2.1.4.2).
    """
    if not 0 <= old <= size:
        return False
    if old in {0, size}:
        return not proof and old_root == (root if old else EMPTY_ROOT)
    # If the old tree is complete, its root is the first hash and not in the proof.
    hashes = list(proof) if old & (old - 1) else [old_root, *proof]
    return bool(hashes) and _roots_from_consistency(old, size, hashes) == (old_root, root)


def _roots_from_consistency(
    old: int, size: int, hashes: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """The old and the new root from a proof, or ``None`` if its length is wrong."""
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = hashes[0]
    for found in hashes[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            before, after = node_hash(found, before), node_hash(found, after)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, found)
        node, last = node >> 1, last >> 1
    return (before, after) if last == 0 else None
