"""The oracle: compares every checkpoint ever issued with all others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note, TreeHead


class Contradiction(AssertionError):
    """Two checkpoints under one key cannot come from the same log."""


class IssuedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint, and the leaf hashes of the lines that it covers."""

    note: Note
    head: TreeHead
    leaves: Sequence[bytes]

    def root(self, size: int) -> bytes:
        """The root of the tree over the first leaves."""
        return root_of(self.leaves[:size])


class Judge:
    """All issued checkpoints, by key; no restore affects them."""

    def __init__(self) -> None:
        self.issued: dict[str, list[IssuedCheckpoint]] = {}
        self.compared = 0

    def add(self, note: Note, lines: Sequence[bytes]) -> None:
        """Add a checkpoint; raises `Contradiction`."""
        head = TreeHead.parse(note)
        new = IssuedCheckpoint(note, head, [leaf_hash(line) for line in lines[: head.size]])
        if len(new.leaves) != head.size or new.root(head.size) != head.root:
            raise Contradiction(
                f"the checkpoint of {head.size} does not match the log that issued it"
            )
        for old in self.issued.setdefault(head.origin, []):
            self.compared += 1
            longer, size = (new, old.head.size) if old.head.size <= head.size else (old, head.size)
            shorter = old if longer is new else new
            if longer.root(size) != shorter.head.root:
                raise Contradiction(
                    f"{head.origin} signed {old.head.size} and {head.size} of two different logs"
                )
        self.issued[head.origin].append(new)

    def newest(self, origin: str) -> Note | None:
        """The newest checkpoint issued under a key."""
        issued = self.issued.get(origin, [])
        return max(issued, key=lambda one: one.head.size).note if issued else None
