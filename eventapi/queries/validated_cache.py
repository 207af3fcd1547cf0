"""A cache of values that are used only while their sources are unchanged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ValidatedCache(Generic[K, V]):
    """A bounded cache that drops the least recently used values first.

    A validator identifies the state that a value was computed from, as an ETag does.
    """

    def __init__(self, max_size: int) -> None:
        """``max_size`` bounds the sum of all sizes."""
        self._max_size = max_size
        self._size = 0
        self._entries: OrderedDict[K, tuple[object, V, int]] = OrderedDict()

    def find(self, key: K, validator: object) -> V | None:
        """The value of a key, if it was added with an equal validator."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] != validator:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return found[1]

    def add(self, key: K, validator: object, value: V, size: int) -> None:
        """Keep a value, unless it is larger than the whole cache."""
        self._drop(key)
        if size > self._max_size:
            return
        self._entries[key] = (validator, value, size)
        self._size += size
        while self._size > self._max_size:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: K) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._size -= found[2]
