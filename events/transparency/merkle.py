"""The Merkle tree over a log's lines: hashes and proofs (RFC 6962, section 2.1).

A leaf is a line's bytes without its newline. This module only computes with hashes;
`events.transparency.tree` connects them with the lines of a log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()
"""The root of the tree without leaves."""

Range = tuple[int, int]
"""A half-open range of leaves, counted from 0."""


def leaf_hash(line: bytes) -> bytes:
    """The hash of a leaf, 32 bytes."""
    return sha256(b"\0" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two others, 32 bytes."""
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves, or over roots of subtrees of equal height."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        # The last hash of an odd row moves up unchanged: its sibling is on a higher level.
        odd = row[len(row) & ~1 :]
        row = [
            sha256(b"\1" + left + right).digest()
            for left, right in zip(row[::2], row[1::2], strict=False)
        ] + odd
    return row[0]


class Frontier:
    """The right edge of a growing tree: the roots of its largest complete subtrees.

    ``subtrees`` has height and root of each, from left to right. A frontier that begins at leaf
    ``start`` covers a later part of a tree, and its subtrees can be added to another frontier.
    """

    def __init__(self, start: int = 0, subtrees: Iterable[tuple[int, bytes]] = ()) -> None:
        self.size = start
        self.subtrees = [*subtrees]

    def add(self, digest: bytes, height: int = 0) -> None:
        """Add the hash of the next leaf, or the root of the next subtree of a height."""
        index = self.size >> height
        self.size += 1 << height
        while index & 1 and self.subtrees and self.subtrees[-1][0] == height:
            digest = node_hash(self.subtrees.pop()[1], digest)
            index, height = index >> 1, height + 1
        self.subtrees.append((height, digest))

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.subtrees:
            return EMPTY_ROOT
        (_, found), *others = reversed(self.subtrees)
        for _, left in others:
            found = node_hash(left, found)
        return found


def split(size: int) -> int:
    """The leaves of the left subtree: the largest power of two below ``size`` (> 1)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots prove that a leaf is in the tree of ``size`` leaves.

    From the leaf's sibling up to the child of the root (RFC 6962, section 2.1.1).
    """
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def uncovered_ranges(indexes: Sequence[int], size: int) -> Iterator[Range]:
    """The largest subtrees without one of some leaves, from left to right.

    Their roots and those leaves, whose indexes ascend, prove that all of the leaves are in the tree
    of ``size`` leaves. It is the least that does, and there is nothing to add for a whole tree.
    """
    waiting = [(0, size, 0, len(indexes))]
    while waiting:
        start, end, first, last = waiting.pop()
        if first == last:
            yield start, end
        elif end - start > 1:
            middle = start + split(end - start)
            between = bisect_left(indexes, middle, first, last)
            waiting += [(middle, end, between, last), (start, middle, first, between)]


def consistency_ranges(old: int, size: int) -> list[Range]:
    """The subtrees whose roots prove that a tree begins with its first ``old`` leaves.

    In the order of RFC 6962, section 2.1.2. There is nothing to prove for the empty tree and for
    the tree itself.
    """
    if old in {0, size}:
        return []
    found: list[Range] = []
    start, end = 0, size
    while old < end:
        middle = start + split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    if start > 0:  # Otherwise it is the old tree itself, whose root is known.
        found.append((start, end))
    return found[::-1]
