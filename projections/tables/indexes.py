"""Indexes of resources: by owner, by size in the log, and by version."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence


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


class VersionIndex:
    """For each event of a resource, the position of the same resource's previous event.

    So a whole history can be followed backwards from a version, at 8 bytes an event of the log.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._before = array("Q")
        self._before.frombytes(content)

    def add(self, position: int, before: int) -> None:
        """Set the position of the event before the one at a position; 0 for the first."""
        try:
            self._before[position] = before
        except IndexError:
            missing = position + position // 8 + _SPARE - len(self._before)
            self._before.frombytes(bytes(missing * self._before.itemsize))
            self._before[position] = before

    def of(self, version: int, *, upto: int | None = None) -> list[int]:
        """The positions of a resource's events up to a version, oldest first.

        Positions beyond ``upto`` are left out.
        """
        positions = []
        while version:
            if upto is None or version <= upto:
                positions.append(version)
            version = self._before[version] if version < len(self._before) else 0
        positions.reverse()
        return positions

    def __bytes__(self) -> bytes:
        return self._before.tobytes()


class StagedVersionIndex(VersionIndex):
    """The staged index, which stays empty because no decision reads it."""

    def add(self, position: int, before: int) -> None:
        """Do nothing."""
