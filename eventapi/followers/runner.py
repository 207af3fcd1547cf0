"""Run a follower: a durable, at-least-once reader of the log with one holder.

Every process runs this for every follower::

    acquire the lease         of all workers and instances, one gets it; the others try again
    read the stored progress  or begin at the follower's first position
    read the log              in order, only records of types that the follower wants
    handle a record           and on failure the same record again, with back-off
    store the progress        with the parts that the follower parks; then the next record
    retry parked parts        that are due, while there is no new record
    release the lease         at a clean stop, so that another process continues at once

The progress is stored after the record was handled. So a crash between the two repeats the record,
and none is ever skipped. See docs/decisions/followers.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from math import inf
from typing import Final

import msgspec

from eventapi.followers.backoff import Backoff
from eventapi.followers.holding import run_while_held
from eventapi.followers.parking import Parking
from eventapi.followers.port import (
    Follower,
    FollowerStore,
    Lease,
    Parked,
    ParkingFollower,
    Progress,
)
from eventapi.followers.reading import Wanted, read_wanted
from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from events.codec import parse
from events.errors import EventapiError, FollowersUnavailable, LeaseLost, StorageFull
from events.messages.server_log import (
    FOLLOWER_BEGINS_AGAIN,
    FOLLOWER_FAILED,
    FOLLOWER_RECOVERED,
    FOLLOWER_WAITS,
    PARKED_FAILED,
)

logger = logging.getLogger("eventapi.followers")

ACQUIRE_SECONDS: Final = 1.0
"""How often a process tries to acquire a lease that another one holds."""

STORE_SECONDS: Final = 5.0
"""How often progress is stored that only passed over records; losing it repeats nothing."""

END_SECONDS: Final = 10.0
"""How long the log may be behind the stored position of another instance."""


_STORE_BACKOFF: Final = Backoff(1.0, 10.0)
_PARKED_BACKOFF: Final = Backoff(60.0, 1_800.0)
"""Greylisting usually ends after some minutes. After that, RFC 5321 asks for half an hour."""


OnFailure = Callable[[str], Awaitable[float]]
"""Gets the time of the first failure at the record; returns the most seconds until the next attempt."""


async def _ignore_failure(_: str) -> float:
    return inf


class FollowerStatus(msgspec.Struct, frozen=True):
    """The state of a follower, for operators."""

    position: int
    lag: int
    failing_since: str | None
    status: str | None


class Runner:
    """Runs one follower in one process; `run` is a background task."""

    def __init__(
        self,
        follower: Follower,
        store: FollowerStore,
        journal: Journal,
        watcher: LogWatcher,
        *,
        backoff: Backoff | None = None,
        on_failure: OnFailure = _ignore_failure,
        parked_backoff: Backoff = _PARKED_BACKOFF,
        acquire_seconds: float = ACQUIRE_SECONDS,
    ) -> None:
        """``on_failure`` is called after each failed attempt.

        ``acquire_seconds`` is how often the lease is tried that another process holds.
        """
        self.follower = follower
        self._store = store
        self._journal = journal
        self._watcher = watcher
        self._backoff = backoff or Backoff()
        self._parked_backoff = parked_backoff
        self._on_failure = on_failure
        self._acquire_seconds = acquire_seconds
        self._held: _Position | None = None
        self._failures = 0
        self._seen: Progress | None = None

    @property
    def is_holder(self) -> bool:
        """Whether this process runs the follower at present."""
        return self._held is not None

    @property
    def lag(self) -> int:
        """The number of events that the follower has not completed; 0 if not the holder."""
        return 0 if self._held is None else max(self._watcher.position - self._held.position, 0)

    @property
    def parked(self) -> int:
        """The number of parked parts; 0 if not the holder."""
        return 0 if self._held is None else len(self._held.parking)

    @property
    def status(self) -> FollowerStatus | None:
        """The state of the follower, whichever process runs it; ``None`` while unknown.

        If another process does, it is as of its last store, some seconds ago.
        """
        stored = self._seen if self._held is None else self._held.progress
        if stored is None:
            return None
        position = stored.position if self._held is None else self._held.position
        lag = max(self._watcher.position - position, 0)
        return FollowerStatus(position, lag, stored.failing_since or None, stored.status or None)

    async def run(self) -> None:
        """Follow the log whenever this process holds the lease, until the watcher closes."""
        while not self._watcher.closed:
            try:
                lease = await self._store.acquire(self.follower.name)
                if lease is not None:
                    await self._hold(lease)
                    continue
                self._seen = await self._store.read(self.follower.name)
                self._failures = 0
                await asyncio.sleep(self._acquire_seconds)
            except LeaseLost:
                continue
            except EventapiError as error:
                self._failures += 1
                await self._wait_for_store(self._failures, error)

    async def _hold(self, lease: Lease) -> None:
        """Follow the log until the lease is lost, or the watcher closes."""
        try:
            await run_while_held(lease, self._follow(lease), self.follower.name)
        finally:
            self._seen = None if self._held is None else self._held.progress
            self._held = None

    async def _follow(self, lease: Lease) -> None:
        held = self._held = await self._begin(lease)
        self._failures = 0
        try:
            while not self._watcher.closed:
                await self._watcher.wait_beyond(held.position, STORE_SECONDS)
                await self._advance(held)
                await self._retry_parked(held)
                await held.store_if_due()
        finally:
            if self._watcher.closed:
                await held.store_passed()

    async def _begin(self, lease: Lease) -> _Position:
        """The place to continue at; stores the first position of a new follower."""
        stored = await lease.read()
        state = await self._journal.state()
        parked = await lease.parked() if isinstance(self.follower, ParkingFollower) else ()
        parking = Parking(self.follower.name, lease, parked, self._parked_backoff.seconds)
        if stored is not None and await self._is_of_this_log(stored):
            return _Position(lease, parking, stored, stored.position)
        await parking.clear()  # Other records may be at these positions.
        first = await self.follower.first_position(state)
        if stored is not None:
            name = self.follower.name
            logger.warning(FOLLOWER_BEGINS_AGAIN.fill(name=name, position=stored.position))
        progress = Progress(first, await self._hash_at(first))
        await lease.store(progress)
        return _Position(lease, parking, progress, first)

    async def _is_of_this_log(self, stored: Progress) -> bool:
        """Whether the log has the record that was completed last.

        It does not if an older log was restored: then new records are at positions that the follower
        would pass over.
        """
        if stored.position > 0:
            await self._watcher.wait_beyond(stored.position - 1, END_SECONDS)
        if self._watcher.position < stored.position:
            if self._watcher.closed:
                raise LeaseLost("the server stops")
            return False
        return await self._hash_at(stored.position) == stored.hash

    async def _hash_at(self, position: int) -> str:
        if position == 0:
            return ""
        return parse(await self._journal.history.line_at(position)).hash

    async def _advance(self, held: _Position) -> None:
        """Handle the wanted records of the next lines."""
        state = await self._journal.state()
        if state.position <= held.position:
            return
        wanted, end, last = await read_wanted(self._watcher, self.follower, held.position, state)
        for one in wanted:
            await self._handle(one, held)
            if self._watcher.closed:
                return  # With the progress of the last completed record.
        held.pass_over(end, parse(last).hash)

    async def _handle(self, wanted: Wanted, held: _Position) -> None:
        """Handle a record until that succeeds, and store the progress; or until the stop."""
        failures, position, line = 0, wanted.position, wanted.line
        while not self._watcher.closed:
            try:
                state = await self._journal.state()
                # Open its values anew each time: their user may have been erased since the read.
                record = self._journal.history.record(position, line, wanted.previous)
                held.check()
                parts = await self.follower.handle(record, line, state)
            except LeaseLost:
                raise
            except Exception as error:
                failures += 1
                self._report(position, error)
                await held.store_failure(_reason_of(error), self._journal.clock.now())
                most = await self._on_failure(held.progress.failing_since)
                await self._pause(self._backoff.seconds(failures, most))
                continue
            if held.progress.failing_since:
                logger.warning(FOLLOWER_RECOVERED.fill(name=self.follower.name))
            progress = Progress(position, record.hash.hex())
            now = self._journal.clock.now() if parts else ""
            await self._until_stored(partial(held.complete, progress, parts or (), now))
            return

    async def _retry_parked(self, held: _Position) -> None:
        """Try parked parts that are due, at least one, until there are new records."""
        if not held.parking or not isinstance(self.follower, ParkingFollower):
            return
        for parked in held.parking.due(self._journal.clock.now()):
            try:
                state = await self._journal.state()
                (record,) = await self._journal.history.records([parked.position])
                held.check()
                is_done = await self.follower.retry(record, state, parked)
            except LeaseLost:
                raise
            except Exception as error:
                self._report(parked.position, error, is_parked=True)
                await self._postpone(parked, held)
                return  # The next one would probably fail as well.
            if is_done:
                await self._until_stored(partial(held.parking.remove, parked))
            else:
                await self._postpone(parked, held)
            if self._watcher.closed or self._watcher.position > held.position:
                return

    async def _postpone(self, parked: Parked, held: _Position) -> None:
        now = self._journal.clock.now()
        await self._until_stored(partial(held.parking.postpone, parked, now))

    async def _until_stored(self, store: Callable[[], Awaitable[None]]) -> None:
        """Store the result of an attempt.

        On a full disk this is retried, because to begin again would repeat the attempt each time.
        """
        failures = 0
        while True:
            try:
                await store()
            except LeaseLost:
                raise
            except (FollowersUnavailable, StorageFull) as error:
                failures += 1
                await self._wait_for_store(failures, error)
            else:
                return

    async def _wait_for_store(self, failures: int, error: EventapiError) -> None:
        """Pause after so many failures of the store or the log in a row; report the first."""
        if failures == 1:
            name, advice = self.follower.name, error.message.next
            logger.warning(FOLLOWER_WAITS.fill(name=name, reason=error, advice=advice))
        await self._pause(_STORE_BACKOFF.seconds(failures))

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not much longer than until the watcher closes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._watcher.closed and (left := end - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, ACQUIRE_SECONDS))

    def _report(self, position: int, error: Exception, *, is_parked: bool = False) -> None:
        values = {"name": self.follower.name, "position": position, "reason": _reason_of(error)}
        trace = None if isinstance(error, EventapiError) else error
        if is_parked:
            logger.warning(PARKED_FAILED.fill(**values), exc_info=trace)
        else:
            logger.warning(FOLLOWER_FAILED.fill(**values), exc_info=trace)


def _reason_of(error: Exception) -> str:
    """The reason of a failure; only texts of this program contain no personal value."""
    return str(error) if isinstance(error, EventapiError) else type(error).__name__


class _Position:
    """How far the holder is, and what of that is stored."""

    def __init__(self, lease: Lease, parking: Parking, progress: Progress, position: int) -> None:
        self._lease = lease
        self.parking = parking
        self.progress = progress
        self.position = position
        self._hash = progress.hash
        self._due = asyncio.get_running_loop().time() + STORE_SECONDS

    async def store(self, progress: Progress) -> None:
        """Store progress, and continue after it."""
        await self._lease.store(progress)
        self.progress = progress
        self.position, self._hash = progress.position, progress.hash

    async def complete(self, progress: Progress, parts: Collection[str], now: str) -> None:
        """Park parts of a record, and store that it was handled otherwise."""
        await self.parking.set_parts(progress.position, parts, now)
        await self.store(progress)

    def check(self) -> None:
        """Raise `LeaseLost` if another process may continue by now."""
        self._lease.check()

    async def store_failure(self, status: str, now: str) -> None:
        """Store that an attempt failed."""
        since = self.progress.failing_since or now
        stored = self.progress
        progress = Progress(stored.position, stored.hash, since, status)
        await self._lease.store(progress)
        self.progress = progress

    def pass_over(self, position: int, digest: str) -> None:
        """Move on without a store; the next store includes it."""
        self.position, self._hash = position, digest

    async def store_if_due(self) -> None:
        """Store the records that were passed over, once in a while."""
        if asyncio.get_running_loop().time() >= self._due:
            await self.store_passed()

    async def store_passed(self) -> None:
        """Store the records that were passed over, if there are any."""
        self._due = asyncio.get_running_loop().time() + STORE_SECONDS
        if self.position != self.progress.position:
            await self.store(Progress(self.position, self._hash))
