"""Indexes of resources: by owner, by size in the log, and by version."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence


class OwnerIndex:
    """The numbers of the resources of every owner, ascending."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}

    def __getitem__(self, owner: int) -> Sequence[int]:
        return self._ids.get(owner, ())

    def count(self, owner: int) -> int:
        """The number of resources of an owner."""
        return len(self._ids.get(owner, ()))

    def add(self, owner: int, number: int) -> None:
        ids = self._ids.get(owner)
        if ids is None:
            self._ids[owner] = [number]
        elif number > ids[-1]:
            ids.append(number)
        else:
            insort(ids, number)

    def remove(self, owner: int, number: int) -> None:
        ids = self._ids[owner]
        del ids[bisect_left(ids, number)]
        if not ids:
            del self._ids[owner]

    def drop(self, owner: int) -> Sequence[int]:
        """Remove an owner, and return the numbers of the owner's resources."""
        return self._ids.pop(owner, ())


class StagedOwnerIndex(OwnerIndex):
    """The staged index. Only an erasure reads the base; no decision lists resources."""

    def __init__(self, base: OwnerIndex) -> None:
        super().__init__()
        self._base = base
        self._removed: dict[int, int] = {}
        self._dropped: set[int] = set()

    def __getitem__(self, owner: int) -> Sequence[int]:
        base = () if owner in self._dropped else self._base[owner]
        return [*base, *super().__getitem__(owner)]

    def count(self, owner: int) -> int:
        return self._base.count(owner) + super().count(owner) - self._removed.get(owner, 0)

    def remove(self, owner: int, number: int) -> None:
        if number in self._ids.get(owner, ()):
            super().remove(owner, number)
        else:
            self._removed[owner] = self._removed.get(owner, 0) + 1

    def drop(self, owner: int) -> Sequence[int]:
        numbers = self[owner]
        super().drop(owner)
        self._removed[owner] = self._base.count(owner)
        self._dropped.add(owner)
        return numbers


class NumberIndex:
    """All numbers of a table, ascending. They are sorted when they are first read."""

    def __init__(self) -> None:
        self._sorted: list[int] | None = None

    def of(self, numbers: Iterable[int]) -> Sequence[int]:
        """The numbers, which are these in any order."""
        if self._sorted is None:
            self._sorted = sorted(numbers)
        return self._sorted

    def add(self, number: int) -> None:
        if self._sorted is not None and not self._has(self._sorted, number):
            insort(self._sorted, number)

    def remove(self, number: int) -> None:
        if self._sorted is not None and self._has(self._sorted, number):
            del self._sorted[bisect_left(self._sorted, number)]

    def reset(self) -> None:
        """Forget the order, because many numbers change."""
        self._sorted = None

    @staticmethod
    def _has(numbers: Sequence[int], number: int) -> bool:
        at = bisect_left(numbers, number)
        return at < len(numbers) and numbers[at] == number


class LogBytes:
    """Bytes of each owner's lines in the log, including lines of deleted resources."""

    def __init__(self) -> None:
        self.by_owner: dict[int, int] = {}

    def of(self, owner: int) -> int:
        return self.by_owner.get(owner, 0)

    def add(self, owner: int, size: int) -> None:
        self.by_owner[owner] = self.by_owner.get(owner, 0) + size

    def drop(self, owner: int) -> None:
        """Remove an owner."""
        self.by_owner.pop(owner, None)


class StagedLogBytes(LogBytes):
    """The staged sizes: the differences from the base."""

    def __init__(self, base: LogBytes) -> None:
        super().__init__()
        self._base = base

    def of(self, owner: int) -> int:
        return self._base.of(owner) + super().of(owner)

    def drop(self, owner: int) -> None:
        self.by_owner[owner] = -self._base.of(owner)


_SPARE = 1024
_DELETED = 1 << 63
"""Marks the entry of an event after which the resource is deleted; a position has fewer bits."""


class VersionIndex:
    """For each event of a resource or webhook, the position of its previous one.

    An event about an account has that of the previous one about the same account. So a whole history
    can be followed backwards from a version, at 8 bytes an event of the log. The entry of an event
    after which a resource is deleted is marked, so no line is read to learn which resources existed.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._before = array("Q")
        self._before.frombytes(content)

    def add(self, position: int, before: int, *, is_deleted: bool = False) -> None:
        """Set the position of the event before the one at a position; 0 for the first."""
        if is_deleted:
            before |= _DELETED
        try:
            self._before[position] = before
        except IndexError:
            missing = position + position // 8 + _SPARE - len(self._before)
            self._before.frombytes(bytes(missing * self._before.itemsize))
            self._before[position] = before

    def before(self, position: int) -> int:
        """The position of the event before the one at a position; 0 if there is none."""
        return self._before[position] & ~_DELETED if position < len(self._before) else 0

    def at(self, version: int, position: int) -> int:
        """The version that a resource had at a position; 0 if it did not exist.

        ``version`` is the position of its last event.
        """
        before, size = self._before, len(self._before)
        while version > position:  # Inlined, because a count does this for all resources.
            version = before[version] & ~_DELETED if version < size else 0
        return 0 if version < size and before[version] & _DELETED else version

    def of(self, version: int, *, upto: int | None = None) -> list[int]:
        """The positions of a resource's events up to a version, oldest first.

        Positions beyond ``upto`` are left out.
        """
        positions = []
        while version:
            if upto is None or version <= upto:
                positions.append(version)
            version = self.before(version)
        positions.reverse()
        return positions

    def complete(self, version: int, *, at_most: int) -> list[int] | None:
        """The positions of all events up to a version, oldest first.

        ``None`` if there are more than ``at_most``.
        """
        positions: list[int] = []
        while version:
            if len(positions) == at_most:
                return None
            positions.append(version)
            version = self.before(version)
        positions.reverse()
        return positions

    def __bytes__(self) -> bytes:
        return self._before.tobytes()


class StagedVersionIndex(VersionIndex):
    """The staged index, which stays empty because no decision reads it."""

    def add(self, position: int, before: int, *, is_deleted: bool = False) -> None:
        """Do nothing."""
