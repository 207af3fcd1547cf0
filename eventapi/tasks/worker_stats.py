"""Sample the current values of a worker for its metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.ratelimit.storage import RateLimitStorage
from eventapi.security.passwords import Passwords
from eventapi.tasks.signing_check import SigningCheck
from eventapi.telemetry.metrics.meters import Sample
from events.errors import EventapiError
from events.log.port import EventLog


class WorkerStats(msgspec.Struct, frozen=True):
    """The parts of one worker that have values to sample."""

    log: EventLog
    journal: Journal
    feed: LogWatcher
    passwords: Passwords
    counts: RateLimitStorage
    signing: SigningCheck
    disk_free: Callable[[], int | None]

    async def sample(self) -> Sample:
        """The current values; an error leaves out a value.

        Catches up with the log first, because an idle worker may be behind without any fault.
        """
        sessions = None
        with suppress(EventapiError):
            sessions = len((await self.journal.state()).sessions.by_id)
        redis = self.counts.redis
        return Sample(
            position=self.log.position,
            lag=max(self.log.position - self.journal.position, 0),
            queued=self.journal.queued,
            passwords=self.passwords.waiting,
            sessions=sessions,
            streams=self.feed.followers.total(),
            disk_free=self.disk_free(),
            redis_ok=None if redis is None else redis == "ok",
            signing_ok=self.signing.is_ok is not False,
            clock_drift=self.journal.clock.drift,
            clock_refuses=self.journal.clock.refuses,
            failed_projections=len(self.journal.failed_projections),
        )
