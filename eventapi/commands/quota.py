"""What one user's items may take up."""

from __future__ import annotations

from typing import Final

import msgspec

from events.errors import QuotaExceeded
from projections.state import State


class Quota(msgspec.Struct, frozen=True):
    """The limits of every user; 0 is no limit.

    ``log_bytes`` counts the lines in the log that created, changed or restored the user's items,
    also of items that are deleted since. ``items`` counts the items that there are.
    """

    log_bytes: int = 0
    items: int = 0

    def check(self, state: State, owner: int, *, adds_item: bool) -> None:
        """Raise `QuotaExceeded` where a user has reached a limit."""
        if self.items and adds_item and state.items.by_owner.count(owner) >= self.items:
            raise QuotaExceeded(
                f"all {self.items} items that one user may have are there; delete one first"
            )
        if self.log_bytes and state.items.log_bytes.of(owner) >= self.log_bytes:
            raise QuotaExceeded(
                f"all {self.log_bytes} bytes that one user's items may take in the log are used; "
                "items can still be read and deleted, and an operator can raise the limit"
            )


NO_QUOTA: Final = Quota()
