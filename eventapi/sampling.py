"""How things are in a worker, told to the metrics now and then: others are asked for them as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from eventapi.feed import Feed
from eventapi.journal import Journal
from eventapi.limits.counts import Counts
from eventapi.metrics.meters import Meters, Sample
from eventapi.security.passwords import Passwords
from events.errors import EventapiError
from events.log.port import EventLog

SECONDS: Final = 5.0
"""How old at most is what a worker says of itself, when another one is asked."""


class Sampler(msgspec.Struct, frozen=True):
    """Looks at the parts of one worker."""

    meters: Meters
    log: EventLog
    journal: Journal
    feed: Feed
    passwords: Passwords
    counts: Counts
    disk_free: Callable[[], int | None]

    async def sample(self) -> None:
        """Tell how things are, whatever fails.

        A worker that nobody asks is behind with its fold, and that is no fault: so it folds first.
        """
        sessions = None
        with suppress(EventapiError):
            sessions = len((await self.journal.state()).sessions.by_id)
        redis = self.counts.redis
        self.meters.sample(
            Sample(
                position=self.log.position,
                lag=max(self.log.position - self.journal.position, 0),
                queued=self.journal.queued,
                passwords=self.passwords.waiting,
                sessions=sessions,
                streams=self.feed.followers.total(),
                disk_free=self.disk_free(),
                redis_ok=None if redis is None else redis == "ok",
            )
        )

    async def keep_sampling(self) -> None:
        """Tell it again and again, until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(SECONDS)
