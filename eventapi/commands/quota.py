"""Limits on the resources of one user."""

from __future__ import annotations

from typing import Final

import msgspec

from events.errors import QuotaExceeded
from projections.state import State


class Quota(msgspec.Struct, frozen=True):
    """The limits that apply to every user; 0 means no limit.

    ``log_bytes`` limits the size of the lines that created, changed or restored the user's resources,
    deleted ones included. ``items`` limits the number of live resources.
    """

    log_bytes: int = 0
    items: int = 0

    def check(self, state: State, owner: int, *, adds_one: bool) -> None:
        """Raise `QuotaExceeded` if a user has reached a limit."""
        if self.items and adds_one and state.resources.count(owner) >= self.items:
            raise QuotaExceeded(
                f"the user has {self.items} items, the most that one user may have; "
                "delete one first"
            )
        if self.log_bytes and state.resources.log_bytes.of(owner) >= self.log_bytes:
            raise QuotaExceeded(
                f"the user's items have used all of their {self.log_bytes} bytes in the log; "
                "items can still be read and deleted, and an operator can raise the limit"
            )


NO_QUOTA: Final = Quota()
