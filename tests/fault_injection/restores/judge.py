"""The judge: keeps every checkpoint that was ever given out, and compares each with all others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note, TreeHead


class Contradiction(AssertionError):
    """Two checkpoints under one key that no single log can have."""


class Given(msgspec.Struct, frozen=True):
    """A checkpoint, and the lines of the log that gave it out, as far as it covers them."""

    note: Note
    head: TreeHead
    leaves: Sequence[bytes]

    def root(self, size: int) -> bytes:
        """The root over the first leaves."""
        return root_of(self.leaves[:size])


class Judge:
    """Stands outside of every machine, so no restore makes it forget."""

    def __init__(self) -> None:
        self.given: dict[str, list[Given]] = {}
        self.compared = 0

    def take(self, note: Note, lines: Sequence[bytes]) -> None:
        """Take in a checkpoint; raises `Contradiction`."""
        head = TreeHead.of(note)
        new = Given(note, head, [leaf_hash(line) for line in lines[: head.size]])
        if len(new.leaves) != head.size or new.root(head.size) != head.root:
            raise Contradiction(f"the checkpoint of {head.size} is not of the log that gave it out")
        for old in self.given.setdefault(head.origin, []):
            self.compared += 1
            longer, size = (new, old.head.size) if old.head.size <= head.size else (old, head.size)
            shorter = old if longer is new else new
            if longer.root(size) != shorter.head.root:
                raise Contradiction(
                    f"{head.origin} signed {old.head.size} and {head.size} of two different logs"
                )
        self.given[head.origin].append(new)

    def newest(self, origin: str) -> Note | None:
        """The newest checkpoint under a key that anybody was given."""
        given = self.given.get(origin, [])
        return max(given, key=lambda one: one.head.size).note if given else None
