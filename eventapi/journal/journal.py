"""The journal: writes commands to the log, and keeps a state that is up to date.

One loop per process writes a batch at a time::

    acquire the log's lock     flock beside the file; a head-row lock on SQL
    take the queued commands   up to a size cap; those that arrived during the wait share the fsync
    catch up                   apply records that other processes appended since
    decide each, staged        event or refusal; later commands in the batch see earlier ones
    append all lines           one write, one fdatasync, then publish the durable mark
    apply to the state         readers never saw any of it before this step
    release the lock
    answer every waiter

A read sees every write that any process acknowledged before the read began, because it first
compares the position of its state with that of the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from eventapi.commands.command import Command
from eventapi.commands.declarations import DeclareKind, check_readable, declaration_of
from eventapi.commands.sessions import GRACE_SECONDS
from eventapi.commands.users import EraseUserAgain
from eventapi.journal.batch import Batch, CommandResult, IdempotencyKey, PendingWrite, Runtime
from eventapi.journal.clock import LogClock, RecentRefreshes
from eventapi.journal.config import DEFAULT_CONFIG, JournalConfig
from eventapi.journal.erasure import KeyDestruction, erasures_to_finish
from eventapi.journal.instrumentation import NO_INSTRUMENTATION, Instrumentation
from eventapi.journal.repeats import RepeatedRequests
from eventapi.queries.history import History
from events.errors import (
    DamagedLog,
    EventapiError,
    LogFenced,
    LogUnavailable,
    LogUnreachable,
    Overloaded,
    RequestInProgress,
    StorageFull,
)
from events.log.port import Appender, EventLog, Head
from events.messages.erasures import users_erased_again
from events.messages.server_log import BATCH_FAILED, NEWER_KIND
from events.sealing import Keyring
from events.vault.port import Vault
from events.vault.tombstones import contents_of
from events.vocabulary.users import UserErased
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import Progress, apply_all, open_records, replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.users import User

logger = logging.getLogger("eventapi.journal")


CATCH_UP_FIRST_EVENTS = 10_000
"""A journal that is so many events behind catches up before it acquires the lock. Otherwise it
would block other writers, and a database releases the lock of an idle connection."""

DESTROY_RETRY_SECONDS = 1.0
"""The time after which the destruction of keys is tried again."""


class Journal:
    """The journal of one process. Call `start` first, and `close` at the end."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        vocabulary: Vocabulary,
        runtime: Runtime,
        config: JournalConfig = DEFAULT_CONFIG,
        *,
        on_fence: Callable[[], None] = lambda: None,
        snapshots: Snapshots | None = None,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        clock: LogClock | None = None,
    ) -> None:
        """``on_fence`` is called when nothing may be written before a restart.

        ``snapshots`` make a start faster; ``clock`` has a reference that outlives this process.
        """
        self.snapshots = snapshots
        self._log = log
        self.vault = vault
        self.clock = clock or LogClock(runtime.now, runtime.uptime)
        self._runtime = msgspec.structs.replace(runtime, now=self.clock.now)
        self._refreshes = RecentRefreshes(runtime.uptime, GRACE_SECONDS)
        self._config = config
        self._on_fence = on_fence
        self._instrumentation = instrumentation
        self._keyring = Keyring()
        self._vocabulary = vocabulary
        self.history = History(log, self._keyring, vault, snapshots, lambda: self._state.vocabulary)
        self._state = State.empty(vocabulary)
        self._folding = asyncio.Lock()
        self._queue: deque[PendingWrite] = deque()
        self._closing = False
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[str] = set()
        self._repeats = RepeatedRequests(self.state, self.history, self._keyring, self._runtime.now)
        self._destruction = KeyDestruction(log, vault)
        self._erased_number = 0
        self.erased_again: Sequence[str] = ()
        """The users that the start erased again, because the log was older than their erasure."""

    @property
    def keyring(self) -> Keyring:
        """The keys of all users in the state; do not change it."""
        return self._keyring

    async def start(self, progress: Progress | None = None) -> None:
        """Fold the log, recover its tail, and finish interrupted erasures.

        Raises `LogError`, `StorageFull` and `VaultUnavailable`; after these, serve nothing.
        """
        self._state = await replay(
            self._log,
            self._keyring,
            self.vault,
            self._vocabulary,
            snapshots=self.snapshots,
            progress=progress,
        )
        exclusive = self._log.exclusive(self._config.start_timeout)
        async with exclusive as appender, self._folding:
            await self._catch_up()
            self._check_head(appender)
            appender.keep_reserve()
            self.clock.start(self._state.last.time)
            await self._declare_changes(appender)
            await self._finish_erasures(appender)
        self._task = asyncio.create_task(self._run(), name="journal")

    async def _declare_changes(self, appender: Appender) -> None:
        """Declare kinds that changed since their last event; raises `ConfigurationError`."""
        resources = self._state.resources
        changed: list[Command] = []
        for resource in self._vocabulary.resources:
            if not check_readable(resources, resource):
                logger.warning(NEWER_KIND.fill(kind=resource.kind, collection=resource.collection))
            elif resource.kind in resources.schemas and declaration_of(resources, resource):
                changed.append(DeclareKind(resource))
        await self._write_now(changed, appender)

    async def _write_now(self, commands: Sequence[Command], appender: Appender) -> None:
        """Write commands during the start; raises if that fails."""
        if not commands:
            return
        write = PendingWrite(commands, "", asyncio.get_running_loop().create_future())
        for _, result in await self._write_batch([write], appender):
            if isinstance(result, Exception):
                raise result

    async def _finish_erasures(self, appender: Appender) -> None:
        """Destroy keys of erased users, and erase users whose erasure the log lost."""
        users = self._state.users.by_id.values()
        found = erasures_to_finish(await contents_of(self.vault), users, self._keyring)
        self._erased_number = found.highest_number
        if found.erase_again:
            await self._erase_again(found.erase_again, appender)
        await self._destruction.finish(self._state.users.by_id.values(), found.destroyed)

    async def _erase_again(self, users: Sequence[User], appender: Appender) -> None:
        await self._write_now([EraseUserAgain(user.id) for user in users], appender)
        self.erased_again = tuple(user.subject for user in users)
        logger.warning(users_erased_again(self.erased_again))

    async def close(self) -> None:
        """Write and answer all queued commands, and stop."""
        self._closing = True
        if self._task is not None:
            self._filled.set()
            # Never cancel the task, even if the caller is cancelled: a write must end under its lock.
            await asyncio.wait([self._task])

    @property
    def pending_destruction(self) -> frozenset[str]:
        """Erased users whose keys are not destroyed yet; the journal keeps retrying."""
        return frozenset(self._destruction.pending)

    @property
    def queued(self) -> int:
        """The number of requests that wait to be written."""
        return len(self._queue)

    @property
    def position(self) -> int:
        """The position of the state, which may be behind that of the log."""
        return self._state.position

    async def state(self) -> State:
        """The state with every write that any process acknowledged before the call.

        The guarantee ends when the caller suspends. If the database of the log cannot be reached,
        the state is returned as it is.
        """
        # A loop, because a key may turn out to be destroyed during the fold: then its erasure is
        # published by now, and the state is complete only after that event.
        while self._log.position > self._state.position:
            async with self._folding:
                try:
                    await self._catch_up()
                except LogUnreachable:
                    break
        return self._state

    async def _catch_up(self) -> None:
        async for lines in self._log.read(self._state.position):
            records = await open_records(lines, self._state, self._keyring, self.vault)
            apply_all(records, self._state, self._keyring)
            self.clock.observe(self._state.last.time)
            self._refreshes.track(records, self._state)

    def stage_now(self, state: State) -> State:
        """A staged copy of a state, to decide a command as if it were written now."""
        return state.stage_at(self.clock.now(), self._refreshes.current())

    async def first_result(self, idempotency_key: IdempotencyKey | None) -> CommandResult | None:
        """The result of the first request with this key, or ``None``.

        Raises `IdempotencyKeyReused`. ``None`` is only a hint: `execute` checks again, under the
        lock.
        """
        return (
            None if idempotency_key is None else await self._repeats.first_result(idempotency_key)
        )

    async def execute(
        self,
        command: Command,
        requestid: str = "",
        idempotency_key: IdempotencyKey | None = None,
        session: str | None = None,
    ) -> CommandResult:
        """Decide and write one command; see `execute_all`.

        With ``idempotency_key``, a repeated request has no effect and gets the first result, also
        in another process and after a crash. Raises `IdempotencyKeyReused`, and
        `RequestInProgress` while this process is still executing the first.
        """
        if idempotency_key is None:
            return (await self.execute_all([command], requestid, session=session))[0]
        if idempotency_key.key in self._running:
            raise RequestInProgress("a request with this Idempotency-Key is still running")
        self._running.add(idempotency_key.key)
        try:
            return (await self.execute_all([command], requestid, idempotency_key, session))[0]
        finally:
            self._running.discard(idempotency_key.key)

    async def execute_all(
        self,
        commands: Sequence[Command],
        requestid: str = "",
        idempotency_key: IdempotencyKey | None = None,
        session: str | None = None,
    ) -> list[CommandResult]:
        """Decide and write commands, all or none; return when they are durable.

        With ``session``, only if that session has not ended when the commands are decided. Raises
        `Refusal` if a rule forbids a command, `Overloaded` if the queue is full, and `StorageFull`,
        `LogError`, `VaultUnavailable` or `ClockJumped` if nothing could be written. After any
        error, nothing was acknowledged.
        """
        if self._task is None or self._closing:
            raise LogUnavailable("the journal is not open")
        if not commands:
            return []
        if len(self._queue) >= self._config.queue:
            raise Overloaded("too many writes are waiting")
        future = asyncio.get_running_loop().create_future()
        write = PendingWrite(commands, requestid, future, idempotency_key, session)
        self._queue.append(write)
        self._filled.set()
        with self._instrumentation.write():
            results = await write.future
        if idempotency_key is not None and results[0].replayed:
            return [await self._repeats.with_entity(results[0])]
        return results

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if self._queue:
                    await self._commit()
                else:
                    await self._wait_for_more()
        finally:
            self._closing = True
            for write in self._queue:
                write.answer(LogUnavailable("the journal has stopped"))

    async def _wait_for_more(self) -> None:
        self._filled.clear()
        if not self._destruction.pending:
            await self._filled.wait()
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), DESTROY_RETRY_SECONDS)
        await self._destruction.retry()

    def _next_batch(self, most: int) -> list[PendingWrite]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), most))]

    async def _commit(self) -> None:
        queued = len(self._queue)
        writes: list[PendingWrite] = []
        try:
            if self._log.position > self._state.position + CATCH_UP_FIRST_EVENTS:
                await self.state()
            started = time.perf_counter()
            async with self._log.exclusive(self._config.lock_timeout) as appender, self._folding:
                # Fill the batch only after taking the lock: requests that arrived during the wait
                # share the same fsync.
                writes = self._next_batch(self._config.batch)
                self._instrumentation.batch(len(writes), time.perf_counter() - started)
                answers = await self._write(writes, appender)
        except Exception as error:
            # If the lock was not acquired: fail everything that was queued when the wait began, and
            # not just one batch.
            writes = writes or self._next_batch(queued)
            if not isinstance(error, EventapiError):
                logger.exception(BATCH_FAILED)
                error = LogUnavailable("the write failed")
            for write in writes:
                write.answer(error)
            if isinstance(error, LogFenced):
                logger.critical(error.message)
                self._on_fence()
        else:
            for write, answer in answers:
                write.answer(answer)
        finally:
            for write in writes:
                write.answer(LogUnavailable("the journal has stopped"))

    async def _write(
        self, writes: Sequence[PendingWrite], appender: Appender
    ) -> list[tuple[PendingWrite, list[CommandResult] | Exception]]:
        """Append a batch to the log, then apply it. The caller must hold both locks."""
        await self._catch_up()
        self._check_head(appender)
        self.clock.check(self._state.last.time)
        return await self._write_batch(writes, appender)

    async def _write_batch(
        self, writes: Sequence[PendingWrite], appender: Appender
    ) -> list[tuple[PendingWrite, list[CommandResult] | Exception]]:
        """As `_write`, but the state is up to date already, and the clock is not checked."""
        batch = self._decide(writes)
        try:
            await self._append(batch, appender)
        except StorageFull:
            if batch.revokes:
                raise
            # Decide again, because positions and hashes change without the other commands.
            batch = self._decide(writes, is_full=True)
            await self._append(batch, appender)
        return batch.answers

    def _decide(self, writes: Sequence[PendingWrite], *, is_full: bool = False) -> Batch:
        batch = Batch(
            self._state,
            self._keyring,
            self._runtime,
            self._refreshes.current(),
            self._erased_number,
            is_full=is_full,
        )
        for write in writes:
            batch.add(write)
        return batch

    async def _append(self, batch: Batch, appender: Appender) -> None:
        if not batch.lines:
            return
        if batch.keys:
            await self.vault.put(batch.keys.raw)
        last = batch.records[-1]
        head = Head(last.position, last.hash)
        with self._instrumentation.append(len(batch.lines)):
            await appender.append(batch.lines, head, revokes=batch.revokes)
        self._keyring.update(batch.keys)
        apply_all(batch.records, self._state, self._keyring)
        self._refreshes.track(batch.records, self._state)
        self._destruction.pending |= {
            record.subject for record in batch.records if type(record.event) is UserErased
        }
        if self._destruction.pending:
            await self._destruction.retry()

    def _check_head(self, appender: Appender) -> None:
        """Raise `DamagedLog` unless the state ends at the head of the log."""
        if appender.head.hash != self._state.last.hash:
            raise DamagedLog(
                "the log is not the one that its mark speaks of",
                position=self._state.position,
                offset=self._state.last.end,
            )
