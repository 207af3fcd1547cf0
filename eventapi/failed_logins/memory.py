"""Counts of failed logins in memory, for a log in memory."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from eventapi.failed_logins.port import MAX_NAMES, FailedLogins
from events.vocabulary.security import OTHER_NAMES


class MemoryFailedLogins:
    """Counts of one process; every opening of a test shares one object."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], FailedLogins] = {}

    async def add(self, counts: Sequence[FailedLogins]) -> None:
        for one in counts:
            known = self._counts.get(_key(one))
            if known is None and one.has_unknown_name and self._names(one) >= MAX_NAMES:
                one = replace(one, subject=OTHER_NAMES)  # noqa: PLW2901
                known = self._counts.get(_key(one))
            total = one.count + (0 if known is None else known.count)
            self._counts[_key(one)] = replace(one, count=total)

    def _names(self, of: FailedLogins) -> int:
        """The number of unknown names of an address in a window."""
        return sum(
            one.has_unknown_name
            for one in self._counts.values()
            if (one.window, one.address_hash) == (of.window, of.address_hash)
        )

    async def read(self, upto: str, limit: int) -> list[FailedLogins]:
        due = [self._counts[key] for key in sorted(self._counts) if key[0] <= upto]
        return due[:limit]

    async def remove(self, counts: Sequence[FailedLogins]) -> None:
        for one in counts:
            self._counts.pop(_key(one), None)


def _key(one: FailedLogins) -> tuple[str, str, str]:
    return one.window, one.subject, one.address_hash
