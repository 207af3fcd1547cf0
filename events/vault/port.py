"""The vault: per-user keys that can be destroyed, and tombstones of those."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class Vault(Protocol):
    """Keys of 32 bytes by subject (``users/7``). Destroying one is crypto-shredding.

    Order: the caller calls `put` before it appends the first line sealed with the key, and only
    while the log is locked, so two writers never have different keys for one user.

    Durability: when `put` returns, the keys survive a power cut. If vault and log share a store and
    the log is locked, they do so when the lines are appended or the lock is released. When
    `destroy` returns, the keys cannot be recovered: an adapter overwrites them and keeps no copy.

    Atomicity: a `put` of several keys stores all of them or none. `destroy` destroys the keys and
    adds their tombstones at once, or does neither.

    Tombstones are never removed. One is a subject and the SHA-256 of its destroyed key, or no bytes
    if that is unknown (see `events.vault.tombstones`).

    Every method raises `VaultUnavailable` if the store cannot be reached or written, and
    `StorageFull` if it has no room.
    """

    async def put(self, keys: Mapping[str, bytes]) -> None:
        """Store keys; replace an existing key of the same subject.

        A key can exist already if an append failed after its `put`; then no line was ever sealed
        with it. If the subject has a tombstone, the key must be a new one: the caller never stores
        a destroyed key again.
        """

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        """Return the keys of those subjects that have one."""

    async def all(self) -> dict[str, bytes]:
        """Return every key."""

    async def destroy(self, subjects: Collection[str]) -> None:
        """Destroy keys and add a tombstone for each subject, also for one without a key."""

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        """Return every tombstone: the fingerprints of destroyed keys, by subject."""

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        """Add the tombstones of another vault, and destroy the keys that match them."""

    async def close(self) -> None:
        """Close the store."""
