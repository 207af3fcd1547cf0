"""The rest of deleted resources."""

from __future__ import annotations

import msgspec

from events.vocabulary.resources import Entity


class Tombstone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The rest of a deleted resource: its owner, and the position of its deletion.

    ``unshared_at`` is the position at which a share was last taken back since; 0 if none was.
    """

    id: int
    owner: int
    created_at: str
    version: int
    unshared_at: int = 0


def last_event(one: Entity | Tombstone) -> int:
    """The position of the last event; a share may end after the deletion."""
    return (isinstance(one, Tombstone) and one.unshared_at) or one.version
