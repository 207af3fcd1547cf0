"""The parked parts of a follower, which its holder tries again later.

They are durable before the progress passes over their record, so a crash at any moment may repeat a
part and loses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from eventapi.followers.port import Lease, Parked
from eventapi.values.times import later
from events.messages.server_log import PARKED_GIVEN_UP

logger = logging.getLogger("eventapi.followers")

MOST: Final = 10_000
"""How many parts of one follower may be parked; the one that has waited longest makes room."""


class Parking:
    """The parked parts of the follower whose lease is held."""

    def __init__(
        self, name: str, lease: Lease, parked: Sequence[Parked], pause: Callable[[int], float]
    ) -> None:
        """``pause`` is the number of seconds before the attempt after so many failed ones."""
        self._name = name
        self._lease = lease
        self._parked = {one.key: one for one in parked}
        self._pause = pause

    def __len__(self) -> int:
        return len(self._parked)

    def due(self, now: str) -> Sequence[Parked]:
        """The parts whose next attempt is due, in the order in which they became so."""
        found = [one for one in self._parked.values() if one.due <= now]
        return sorted(found, key=attrgetter("due", "position"))

    async def set_parts(self, position: int, parts: Collection[str], now: str) -> None:
        """Park these parts of a record that was handled, and no others of it.

        It may have been handled before, and then it is known since when a part is parked.
        """
        for known in [one for one in self._parked.values() if one.position == position]:
            if known.part not in parts:
                await self.remove(known)
        for part in parts:
            new = Parked(position, part, now, now, 0)
            await self.postpone(self._parked.get(new.key, new), now)

    async def postpone(self, parked: Parked, now: str) -> None:
        """Store that another attempt failed."""
        if parked.key not in self._parked and len(self._parked) >= MOST:
            oldest = min(self._parked.values(), key=attrgetter("since", "position"))
            logger.warning(PARKED_GIVEN_UP.fill(name=self._name, position=oldest.position))
            await self.remove(oldest)
        attempts = parked.attempts + 1
        due = later(now, self._pause(attempts))
        parked = replace(parked, due=due, attempts=attempts)
        await self._lease.park(parked)
        self._parked[parked.key] = parked

    async def remove(self, parked: Parked) -> None:
        """Store that a part is done or given up."""
        await self._lease.unpark(parked)
        self._parked.pop(parked.key, None)

    async def clear(self) -> None:
        """Remove all parts."""
        for one in [*self._parked.values()]:
            await self.remove(one)
