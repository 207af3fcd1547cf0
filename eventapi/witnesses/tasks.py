"""Background task: let the witnesses of the policy cosign the newest checkpoint.

Every process runs this, and the one that holds the lease asks the witnesses, all at once::

    a witness is due          if the log grew, its cosignature is old, or its back-off ended
    sign the newest events    one checkpoint for all witnesses that are due
    ask each                  with a proof of consistency from what it has seen
    verify the cosignature    with the key in the policy
    store it                  once the quorum is met, and again with each further one

No request and no checkpoint waits for a witness. Nothing else is stored: a witness answers with the
size that it has seen if this process does not know it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from eventapi.followers.backoff import Backoff
from eventapi.followers.holding import run_while_held
from eventapi.followers.port import FollowerStore
from eventapi.queries.subscriptions import LogWatcher
from eventapi.witnesses.client import Contradiction, Cosigned, Exchange, WitnessClient
from events.errors import EventapiError, NotFound, SigningSuspended
from events.messages.server_log import (
    COSIGNATURES_WAIT,
    WITNESS_CONTRADICTS,
    WITNESS_FAILED,
    WITNESS_RECOVERED,
)
from events.transparency.checkpoints import Checkpoints
from events.transparency.policy import Policy, Witness
from events.transparency.signed_note import Note, TreeHead

logger = logging.getLogger("eventapi.witnesses")

NAME: Final = "witnesses"
"""The name of the lease."""

OVERDUE_SECONDS: Final = 900
"""The age from which the newest cosigned checkpoint is too old."""

Count = Callable[[str, bool], None]
"""Counts an attempt at the witness of a name, and whether it failed."""


class Pace(msgspec.Struct, frozen=True):
    """The intervals of the tasks of a process, in seconds.

    ``check`` is the pause between two rounds, ``refresh`` the age from which a cosignature is renewed
    although the log did not grow, and ``acquire`` how often the lease is tried.
    """

    check: float = 10.0
    refresh: float = 300.0
    acquire: float = 5.0
    backoff: Backoff = Backoff(10.0, 600.0)


class CosigningStatus(msgspec.Struct, frozen=True):
    """The newest cosigned checkpoint, for operators; times in seconds since 1970.

    ``size`` and ``cosigned_at`` are ``None`` if there is none. ``witnesses`` has the time of each
    cosignature in it.
    """

    size: int | None
    cosigned_at: int | None
    witnesses: Mapping[str, int | None]


class _Standing:
    """The results of this process's requests to one witness.

    ``cosigned_at`` is in seconds since 1970; the other times are those of the event loop.
    """

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.size = 0
        self.cosigned_at = 0
        self.asked_at = float("-inf")
        self.failures = 0
        self.retry_at = 0.0
        self.contradicts = False

    def is_due(self, now: float, size: int, refresh: float) -> bool:
        """Whether to ask the witness about a log of a size."""
        if self.failures:
            return now >= self.retry_at
        return size > self.size or now >= self.asked_at + refresh


class WitnessTasks:
    """The witnesses of one process; `run` is a background task."""

    def __init__(  # noqa: PLR0917 - one of each
        self,
        policy: Policy,
        checkpoints: Checkpoints,
        store: FollowerStore,
        watcher: LogWatcher,
        exchange: Exchange,
        count: Count = lambda *_: None,
        *,
        now: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._policy = policy
        self._checkpoints = checkpoints
        self._store = store
        self._watcher = watcher
        self._client = WitnessClient(checkpoints, exchange, now)
        self._count = count
        self._now = now
        self._pace = pace or Pace()
        self._standings = {
            name: _Standing(one) for name, one in policy.witnesses.items() if one.url
        }
        self._given: tuple[str, dict[str, Cosigned]] = ("", {})
        """The text of the last checkpoint, and the cosignatures that it got here."""
        self._stored: Note | None = None
        self.status = CosigningStatus(None, None, dict.fromkeys(policy.witnesses))
        """The newest cosigned checkpoint, as this process last read it."""
        self._is_waiting = False

    @property
    def is_overdue(self) -> bool:
        """Whether the newest cosigned checkpoint is too old, or there is none."""
        at = self.status.cosigned_at
        return at is None or self._now() - at > OVERDUE_SECONDS

    @property
    def times(self) -> Mapping[str, float]:
        """The time of the newest cosignature of each witness with a URL; 0 if none."""
        return {name: one.cosigned_at for name, one in self._standings.items()}

    @property
    def cosigned_at(self) -> float:
        """The last time for which enough witnesses vouch, 0 if there is none."""
        return self.status.cosigned_at or 0

    async def run(self) -> None:
        """Ask the witnesses while this process holds the lease, until the watcher closes."""
        while not self._watcher.closed:
            try:
                await self._read_stored()
                lease = await self._store.acquire(NAME)
                if lease is not None:
                    await run_while_held(lease, self._ask_regularly(), NAME)
                    continue
                self._is_waiting = False
            except EventapiError as error:
                self._report_waiting(error)
            await asyncio.sleep(self._pace.acquire)

    async def _ask_regularly(self) -> None:
        while not self._watcher.closed:
            try:
                await self._ask_due()
                await self._read_stored()
                self._is_waiting = False
            except SigningSuspended as error:  # Its own task reports it.
                logger.debug("witnesses wait: %s", error)
            except EventapiError as error:
                self._report_waiting(error)
            await asyncio.sleep(self._pace.check)

    async def _read_stored(self) -> None:
        """Read the newest cosigned checkpoint, and what each witness has seen of the log."""
        try:
            note = await self._checkpoints.newest_cosigned()
        except NotFound:
            note = None
        if note == self._stored:
            return
        self._stored = note
        if note is None:
            self.status = CosigningStatus(None, None, dict.fromkeys(self._policy.witnesses))
            return
        size, times = TreeHead.parse(note).size, self._policy.times(note)
        witnesses = {name: times.get(name) for name in self._policy.witnesses}
        self.status = CosigningStatus(size, self._policy.cosigned_at(note), witnesses)
        for name, at in times.items():
            if (one := self._standings.get(name)) is not None:
                one.size, one.cosigned_at = max(one.size, size), max(one.cosigned_at, at)

    async def _ask_due(self) -> None:
        """Ask all witnesses that are due about the newest checkpoint."""
        now = asyncio.get_running_loop().time()
        size = self._watcher.position
        pace = self._pace
        due = [one for one in self._standings.values() if one.is_due(now, size, pace.refresh)]
        if not due or size == 0:
            return
        note = await self._checkpoints.current()
        if note.text != self._given[0]:
            self._given = (note.text, {})
        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(self._ask(one, note), name=f"witness {one.witness.name}")

    async def _ask(self, one: _Standing, note: Note) -> None:
        """Ask a witness; a failure changes nothing for the others."""
        name = one.witness.name
        one.asked_at = asyncio.get_running_loop().time()
        # A log that was restored may be shorter than what the witness has seen.
        old = one.size if one.size <= TreeHead.parse(note).size else 0
        try:
            given = await self._client.cosign(one.witness, note, old)
        except Contradiction as error:
            if not one.contradicts:
                logger.error(WITNESS_CONTRADICTS.fill(name=name, reason=error))  # noqa: TRY400
            one.contradicts = True
            self._put_off(one)
        except EventapiError as error:
            if not one.failures:
                logger.warning(WITNESS_FAILED.fill(name=name, reason=error))
            self._put_off(one)
        else:
            if one.failures:
                logger.warning(WITNESS_RECOVERED.fill(name=name))
            one.failures, one.contradicts = 0, False
            one.size, one.cosigned_at = given.size, max(one.cosigned_at, given.time)
            self._count(name, False)
            await self._store_if_enough(name, given, note)

    def _put_off(self, one: _Standing) -> None:
        one.failures += 1
        now = asyncio.get_running_loop().time()
        one.retry_at = now + self._pace.backoff.seconds(one.failures)
        self._count(one.witness.name, True)

    async def _store_if_enough(self, name: str, given: Cosigned, note: Note) -> None:
        """Store the cosignatures of a checkpoint once they satisfy the policy."""
        text, cosigned = self._given
        assert text == note.text  # noqa: S101 - rounds do not overlap
        cosigned[name] = given
        signatures = [*note.signatures, *(other.signature for other in cosigned.values())]
        if not self._policy.is_satisfied_by(Note(text, signatures)):
            return
        try:
            await self._checkpoints.add_cosignatures(Note(text, signatures))
        except EventapiError as error:
            self._report_waiting(error)

    def _report_waiting(self, error: EventapiError) -> None:
        """Log the first of several failures of the store or the log."""
        if not self._is_waiting:
            logger.warning(COSIGNATURES_WAIT.fill(reason=error))
        self._is_waiting = True
