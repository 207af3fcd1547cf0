"""The port of the counts of failed logins, which wait for the end of their window.

A window has ten minutes. Its failed logins are counted here, and are written to the log as one event
for each subject and address once it has ended; see `eventapi.failed_logins.recorder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from events.vocabulary.security import OTHER_NAMES

MAX_NAMES: Final = 5
"""The unknown names of one address that are counted by name in a window."""


class FailedLogins(msgspec.Struct, frozen=True):
    """Failed logins with one account or unknown name, from one address, in one window.

    ``window``, ``subject`` and ``address_hash`` are as in `LoginFailed`. ``sealed`` is the sealed device of
    the last failed login of a user, and empty for an unknown name. ``count`` may be 0.
    """

    window: str
    subject: str
    address_hash: str
    count: int
    sealed: str = ""

    @property
    def has_unknown_name(self) -> bool:
        """Whether this is about one unknown name; these have a maximum number."""
        return self.subject.startswith("security/") and self.subject != OTHER_NAMES


class FailedLoginStore(Protocol):
    """The counts of failed logins, shared by all processes of a log.

    Durability: what `add` returned from survives restarts. Losing it loses only counts, and no event
    is repeated, because the command that records them refuses that.

    Every method raises `FollowersUnavailable`.
    """

    async def add(self, counts: Sequence[FailedLogins]) -> None:
        """Add to the counts, all or none; the new ``sealed`` replaces the one before.

        Beyond `MAX_NAMES` unknown names of an address in a window, further names are counted
        together, under `OTHER_NAMES`.
        """

    async def read(self, upto: str, limit: int) -> list[FailedLogins]:
        """The first counts of the windows that start at ``upto`` or before, by window."""

    async def remove(self, counts: Sequence[FailedLogins]) -> None:
        """Remove counts, by window, subject and address."""
