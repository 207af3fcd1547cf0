"""The events about each account: the user, the sessions and the API keys."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

import msgspec
from msgspec import Raw

from projections.copy_on_write import CopyOnWriteDict
from projections.tables.collections import Collections

_decode_position: Final = msgspec.msgpack.Decoder(int).decode


class Activity:
    """The positions of the events about each account, except its erasure.

    They are kept in the version index of ``resources``, which has a place for each event of the log.
    The place of an erasure belongs to the resources that it deletes.
    """

    def __init__(
        self, resources: Collections, last: MutableMapping[int, int] | None = None
    ) -> None:
        self._resources = resources
        self.last: MutableMapping[int, int] = {} if last is None else last

    def stage(self, resources: Collections) -> Activity:
        """A copy-on-write copy, beside the staged ``resources``."""
        return Activity(resources, CopyOnWriteDict(self.last))

    def add(self, user: int, position: int) -> None:
        """Add an event about the account of a user."""
        self._resources.versions.add(position, self.last.get(user, 0))
        self.last[user] = position

    def of(self, user: int) -> list[int]:
        """The positions of all events about the account of a user, oldest first."""
        return self._resources.versions.of(self.last.get(user, 0))

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The position of the last event of one user, for a snapshot; see `Table`."""
        return self.last.get(owner, 0), None

    def load_owner(self, owner: int, public: Raw, _: Raw | None) -> None:
        """Add one user from a snapshot; see `Table`."""
        position = _decode_position(public)
        if position:
            self.last[owner] = position

    def export_shared(self) -> object:
        """Nothing: `Collections` exports the version index; see `Table`."""
        return None

    def load_shared(self, _: Raw) -> None:
        """Nothing; see `export_shared`."""

    def finish_load(self) -> None:
        """Nothing; see `Table`."""
