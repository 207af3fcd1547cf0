"""The interface of a table to snapshots: it exports itself, owner by owner, and loads itself."""

from __future__ import annotations

from typing import Protocol

from msgspec import Raw


class Table(Protocol):
    """A table of the state. An owner is a user, named by number.

    Snapshots encode what is exported as MessagePack, and pass it back encoded, so each table
    decodes with types of its own.
    """

    def export_owner(self, owner: int) -> tuple[object, object]:
        """What an owner has: values that need no key, and the personal values, to be sealed."""
        ...

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add what `export_owner` returned; personal values are blank without their key."""
        ...

    def export_shared(self) -> object:
        """What belongs to no single owner."""
        ...

    def load_shared(self, content: Raw) -> None:
        """Add what `export_shared` returned, after all owners."""
        ...
