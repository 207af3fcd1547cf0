"""The vault in memory: the reference adapter, for tests and as their model."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class MemoryVault:
    """Keys in a dictionary; durable for as long as the object lives."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}

    async def put(self, keys: Mapping[str, bytes]) -> None:
        self._keys.update(keys)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        return {subject: self._keys[subject] for subject in subjects if subject in self._keys}

    async def all(self) -> dict[str, bytes]:
        return dict(self._keys)

    async def destroy(self, subjects: Collection[str]) -> None:
        for subject in subjects:
            self._keys.pop(subject, None)

    async def close(self) -> None:
        pass
