"""The port of an archive's storage: named objects, each written whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

CHECKPOINT: Final = "checkpoint"
"""The name of the object that states what the archive has."""

MAX_CHECKPOINT_BYTES: Final = 1 << 16


class Objects(Protocol):
    """Objects with names like relative paths.

    An object is there as a whole or not at all, also after a crash. A put replaces an object of
    that name at one instant. Several processes may put and read at the same time.

    Every method raises `LogUnreachable` if the storage does not answer or refuses, and `put` and
    `flush` raise `StorageFull` if there is no room.
    """

    name: str
    """The place, as it is shown in messages; without secrets."""

    async def get(self, name: str, limit: int) -> bytes | None:
        """The content of an object, or None if there is none.

        Of an object that is longer than ``limit`` the first ``limit + 1`` bytes.
        """

    async def put(self, name: str, content: bytes) -> None:
        """Store an object."""

    async def flush(self) -> None:
        """Make everything durable that was put or deleted."""

    async def names(self, folder: str) -> Sequence[str]:
        """The names of the objects directly in a folder, which may not exist."""

    async def delete(self, names: Collection[str]) -> None:
        """Delete objects; one that is not there any more is no error."""
