"""Sample the current values of a worker for its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec

from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.ratelimit.storage import RateLimitStorage
from eventapi.security.passwords import Passwords
from eventapi.tasks.chain_check import ChainCheck
from eventapi.tasks.signing_check import SigningCheck
from eventapi.telemetry.metrics.gauges import Sample
from events.errors import EventapiError
from events.log.file.log import JsonlLog
from events.log.port import EventLog


class Cosignatures(Protocol):
    """The times of cosignatures, in seconds since 1970; 0 if there is none."""

    @property
    def times(self) -> Mapping[str, float]:
        """The time of the newest cosignature of each witness."""

    @property
    def cosigned_at(self) -> float:
        """The last time for which enough witnesses vouch."""


class WorkerStats(msgspec.Struct, frozen=True):
    """The parts of one worker that have values to sample."""

    log: EventLog
    journal: Journal
    feed: LogWatcher
    passwords: Passwords
    counts: RateLimitStorage
    signing: SigningCheck
    chain_check: ChainCheck
    disk_free: Callable[[], int | None]
    follower_lags: Callable[[], Mapping[str, int]]
    delayed_mails: Callable[[], int]
    witnesses: Cosignatures | None = None

    async def sample(self) -> Sample:
        """The current values; an error leaves out a value.

        Catches up with the log first, because an idle worker may be behind without any fault.
        """
        sessions, given_up = None, 0
        with suppress(EventapiError):
            state = await self.journal.state()
            sessions = len(state.sessions.by_id)
            given_up = sum(webhook.is_given_up for webhook in state.webhooks.by_id.values())
        redis = self.counts.redis
        segments, closed_bytes = self._closed()
        return Sample(
            position=self.log.position,
            lag=max(self.log.position - self.journal.position, 0),
            queued=self.journal.queued,
            passwords=self.passwords.waiting,
            sessions=sessions,
            streams=self.feed.followers.total(),
            disk_free=self.disk_free(),
            redis_ok=None if redis is None else redis == "ok",
            unchecked=self.chain_check.left,
            signing_ok=self.signing.is_ok is not False,
            clock_drift=self.journal.clock.drift,
            clock_refuses=self.journal.clock.refuses,
            failed_projections=len(self.journal.failed_projections),
            disabled_webhooks=given_up,
            follower_lags=self.follower_lags(),
            delayed_mails=self.delayed_mails(),
            witness_times={} if self.witnesses is None else self.witnesses.times,
            cosigned_at=None if self.witnesses is None else self.witnesses.cosigned_at,
            segments=segments,
            closed_bytes=closed_bytes,
        )

    def _closed(self) -> tuple[int, int] | tuple[None, None]:
        """The closed segments of a log in a file, and their bytes in the log."""
        return self.log.closed if isinstance(self.log, JsonlLog) else (None, None)
