"""The vault in memory: the reference adapter, for tests and as their model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from events.vault.tombstones import UNKNOWN, fingerprint


class MemoryVault:
    """Keys in a dictionary; durable for as long as the object lives."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}
        self._tombstones: dict[str, frozenset[bytes]] = {}

    async def put(self, keys: Mapping[str, bytes]) -> None:
        self._keys.update(keys)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        return {subject: self._keys[subject] for subject in subjects if subject in self._keys}

    async def all(self) -> dict[str, bytes]:
        return dict(self._keys)

    async def destroy(self, subjects: Collection[str]) -> None:
        for subject in subjects:
            key = self._keys.pop(subject, None)
            if key is not None:
                self._add(subject, fingerprint(key))
            elif subject not in self._tombstones:
                self._add(subject, UNKNOWN)

    def _add(self, subject: str, *fingerprints: bytes) -> None:
        self._tombstones[subject] = self._tombstones.get(subject, frozenset()) | {*fingerprints}

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        return dict(self._tombstones)

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        for subject, fingerprints in tombstones.items():
            self._add(subject, *fingerprints)
            key = self._keys.get(subject)
            if key is not None and fingerprint(key) in fingerprints:
                del self._keys[subject]

    async def close(self) -> None:
        pass
