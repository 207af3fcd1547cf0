"""The vault: per-user keys that can be destroyed, and tombstones of those that were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class Vault(Protocol):
    """Keys of 32 bytes by subject (``users/7``).

    Order: `put` comes before the first line sealed with the key is appended, and only while the
    log is locked, so two writers never hold different keys for one user.

    Durability: when `put` returns, the keys survive a power cut; where vault and log are of one
    store, and the log is locked, when the lines are appended or the lock is let go. When `destroy` returns, they are
    gone for good: an adapter overwrites what it frees and keeps no copy.

    Atomicity: a `put` of several keys stores all of them or none. `destroy` destroys the keys and
    adds their tombstones at once, or does neither.

    Tombstones are never removed. One is a subject and the SHA-256 of its destroyed key, or no bytes
    where that is unknown (see `events.vault.tombstones`).

    Every method raises `VaultUnavailable` where the store cannot be reached or written, and
    `StorageFull` where it has no room.
    """

    async def put(self, keys: Mapping[str, bytes]) -> None:
        """Store keys; one that is there under the same subject is replaced.

        A key can be there already when an append failed after its `put`; then no line was ever
        sealed with it. Where a tombstone of the subject exists, the key must be a new one: the
        caller never puts a destroyed key back.
        """

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        """The keys of those subjects that have one."""

    async def all(self) -> dict[str, bytes]:
        """Every key."""

    async def destroy(self, subjects: Collection[str]) -> None:
        """Destroy keys and keep a tombstone of each; a subject without a key gets one, too."""

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        """Every tombstone: the fingerprints of destroyed keys, by subject."""

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        """Take in the tombstones of another vault, and destroy the keys that they are of."""

    async def close(self) -> None:
        """Let go of the store."""
