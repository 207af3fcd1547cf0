"""Collections over other ones, which they do not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSet
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class CopyOnWriteDict(MutableMapping[K, V]):
    """Reads through to ``base``; writes and deletions stay in this object.

    With ``stage``, the values change as well: each value of ``base`` that is read is staged first.
    """

    __slots__ = ("_base", "_changed", "_gone", "_stage", "_staged")

    def __init__(self, base: Mapping[K, V], stage: Callable[[V], V] | None = None) -> None:
        self._base = base
        self._stage = stage
        self._staged: dict[K, V] = {}
        self._changed: dict[K, V] = {}
        self._gone: set[K] = set()

    def __getitem__(self, key: K) -> V:
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            raise KeyError(key)
        if self._stage is None:
            return self._base[key]
        if key not in self._staged:
            self._staged[key] = self._stage(self._base[key])
        return self._staged[key]

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key; faster than that of `Mapping`, which raises and catches."""
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            return default
        if self._stage is None:
            return self._base.get(key, default)
        return self[key] if key in self._base else default

    def __setitem__(self, key: K, value: V) -> None:
        self._changed[key] = value
        self._gone.discard(key)

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._changed or (key not in self._gone and key in self._base)

    def __iter__(self) -> Iterator[K]:
        for key in self._base:
            if key not in self._gone and key not in self._changed:
                yield key
        yield from self._changed

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)


class CopyOnWriteSet(MutableSet[K]):
    """Reads through to ``base``; additions and removals stay in this object."""

    __slots__ = ("_added", "_base", "_removed")

    def __init__(self, base: AbstractSet[K]) -> None:
        self._base = base
        self._added: set[K] = set()
        self._removed: set[K] = set()

    def add(self, value: K) -> None:
        self._removed.discard(value)
        if value not in self._base:
            self._added.add(value)

    def discard(self, value: K) -> None:
        self._added.discard(value)
        if value in self._base:
            self._removed.add(value)

    def __contains__(self, value: object) -> bool:
        return value in self._added or (value in self._base and value not in self._removed)

    def __iter__(self) -> Iterator[K]:
        for value in self._base:
            if value not in self._removed:
                yield value
        yield from self._added

    def __len__(self) -> int:
        return len(self._base) + len(self._added) - len(self._removed)
