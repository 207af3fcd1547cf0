"""The interface between tables and snapshots: export and load, owner by owner."""

from __future__ import annotations

from typing import Protocol

from msgspec import Raw


class Table(Protocol):
    """A table of the state. An owner is a user, named by number.

    Snapshots encode the exports as MessagePack and pass them back encoded, so each table decodes
    them with its own types.
    """

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The values of an owner: public ones, and personal ones to be sealed."""
        ...

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add what `export_owner` returned; personal values are blank without their key."""
        ...

    def export_shared(self) -> object:
        """The values that belong to no single owner."""
        ...

    def load_shared(self, content: Raw) -> None:
        """Add what `export_shared` returned, before all owners."""
        ...

    def finish_load(self) -> None:
        """Called after the last owner was loaded."""
