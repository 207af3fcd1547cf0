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
from collections.abc import Callable, Sequence

import msgspec

from eventapi.commands.command import Command
from eventapi.commands.declarations import DeclareKind, changed_kinds
from eventapi.commands.sessions import GRACE_SECONDS
from eventapi.commands.users import EraseUserAgain
from eventapi.journal.batch import (
    Answers,
    Batch,
    CommandResult,
    GroupedCommand,
    IdempotencyKey,
    PendingWrite,
    Runtime,
)
from eventapi.journal.clock import LogClock, RecentRefreshes
from eventapi.journal.config import DEFAULT_CONFIG, JournalConfig
from eventapi.journal.erasure import Forget, KeyDestruction, erasures_to_finish, forget_nothing
from eventapi.journal.instrumentation import NO_INSTRUMENTATION, Instrumentation
from eventapi.journal.loading import load_state
from eventapi.journal.origin import NO_ORIGIN, Origin
from eventapi.journal.projection_failures import FailureReports
from eventapi.journal.queue import WriteQueue
from eventapi.journal.repeats import RepeatedRequests
from eventapi.queries.history import History
from events.errors import EventapiError, LogFenced, LogUnavailable, LogUnreachable, StorageFull
from events.log.conflicts import check_is_first, repeat_on_conflict
from events.log.port import Appender, EventLog, Head
from events.messages.erasures import users_erased_again
from events.messages.server_log import BATCH_FAILED, NEWER_KIND
from events.record import START, Record
from events.sealing import Keyring
from events.vault.port import Vault
from events.vault.tombstones import contents_of
from events.vocabulary.users import UserErased
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import Progress, apply_all, check_head, fold_read_models, open_records
from projections.snapshots import Snapshots
from projections.state import State

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
        forget: Forget = forget_nothing,
    ) -> None:
        """``on_fence`` is called when nothing may be written before a restart.

        ``snapshots`` make a start faster; ``clock`` has a reference that outlives this process;
        ``forget`` gets the users whose keys were destroyed.
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
        self._queue = WriteQueue(config.queue)
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._repeats = RepeatedRequests(self.state, self.history, self._keyring, self._runtime.now)
        self._destruction = KeyDestruction(log, vault, forget)
        self._erased_number = 0
        self._failures = FailureReports()
        self.fence: EventapiError | None = None
        """Why nothing may be written any more. Set it to refuse all writes until a restart."""
        self.unchecked: Record = START
        """The last record of a snapshot that was used before the chain up to it was checked."""
        self.erased_again: Sequence[str] = ()
        """The users that the start erased again, because the log was older than their erasure."""
        self.on_erasure: Callable[[], None] = lambda: None
        """Called when a user is erased, by any process: whatever has users' values drops them."""

    @property
    def keyring(self) -> Keyring:
        """The keys of all users in the state; do not change it."""
        return self._keyring

    async def start(self, progress: Progress | None = None, *, check_later: bool = False) -> None:
        """Fold the log, recover its tail, and finish interrupted erasures.

        With ``check_later`` the caller must check the chain up to `unchecked`. Raises `LogError`,
        `StorageFull` and `VaultUnavailable`; after these, serve nothing.
        """
        sources = (self._log, self._keyring, self.vault, self._vocabulary, self.snapshots)
        loaded = await load_state(*sources, progress, check_later=check_later)
        self._state, self.unchecked = loaded
        self._failures.report(self._state.read_models.failures)
        await repeat_on_conflict(self._config.start_timeout, self._begin)
        self._task = asyncio.create_task(self._run(), name="journal")

    async def _begin(self) -> None:
        async with self._log.exclusive(self._config.start_timeout) as appender, self._folding:
            await self._catch_up()
            check_is_first(self._log, appender)
            check_head(appender.head, self._state)
            appender.keep_reserve()
            self.clock.start(self._state.last.time)
            await self._declare_changes(appender)
            await self._finish_erasures(appender)

    async def _declare_changes(self, appender: Appender) -> None:
        """Declare kinds that changed since their last event; raises `ConfigurationError`."""
        changed, newer = changed_kinds(self._state.resources, self._vocabulary)
        for kind in newer:
            logger.warning(NEWER_KIND.fill(kind=kind.kind, collection=kind.collection))
        await self._write_now([DeclareKind(kind) for kind in changed], appender)

    async def _write_now(self, commands: Sequence[Command], appender: Appender) -> None:
        """Write commands during the start; raises if that fails."""
        if not commands:
            return
        write = PendingWrite(commands, NO_ORIGIN, asyncio.get_running_loop().create_future())
        for _, result in await self._write_batch([write], appender):
            if isinstance(result, Exception):
                raise result

    async def _finish_erasures(self, appender: Appender) -> None:
        """Destroy keys of erased users, and erase users whose erasure the log lost."""
        users = self._state.users.by_id.values()
        found = erasures_to_finish(await contents_of(self.vault), users, self._keyring)
        self._erased_number = found.highest_number
        if found.erase_again:
            await self._write_now([EraseUserAgain(user.id) for user in found.erase_again], appender)
            self.erased_again = tuple(user.subject for user in found.erase_again)
            logger.warning(users_erased_again(self.erased_again))
        await self._destruction.finish(self._state.users.by_id.values(), found.destroyed)

    async def close(self) -> None:
        """Write and answer all queued commands, and stop."""
        self._closing = True
        if self._task is not None:
            self._queue.wake()
            # Never cancel the task, even if the caller is cancelled: a write must end under its lock.
            await asyncio.wait([self._task])

    @property
    def pending_destruction(self) -> frozenset[str]:
        """Erased users whose keys or mails are still there; the journal keeps retrying."""
        return frozenset(self._destruction.pending)

    @property
    def destruction_failure(self) -> EventapiError | None:
        """Why `pending_destruction` is not empty; `MailNotRemoved` if only mails are left."""
        return self._destruction.failure

    @property
    def queued(self) -> int:
        """The number of requests that wait to be written."""
        return len(self._queue)

    @property
    def position(self) -> int:
        """The position of the state, which may be behind that of the log."""
        return self._state.position

    @property
    def failed_projections(self) -> Sequence[str]:
        """The names of the projections that an exception stopped."""
        return list(self._state.read_models.failures)

    async def fold_read_models(self) -> None:
        """Fold the read models that the snapshot lacks; raises as `EventLog.read`."""
        await fold_read_models(self._log, self._state, self._vocabulary)
        self._failures.report(self._state.read_models.failures)

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
            self._apply(records)
            self.clock.observe(self._state.last.time)

    def _apply(self, records: Sequence[Record]) -> set[str]:
        """Apply records of the log to the state, and return the users that they erase."""
        apply_all(records, self._state, self._keyring)
        self._refreshes.track(records, self._state)
        self._failures.report(self._state.read_models.failures)
        erased = {record.subject for record in records if type(record.event) is UserErased}
        if erased:
            self.on_erasure()
        return erased

    def stage_now(self, state: State) -> State:
        """A staged copy of a state, to decide a command as if it were written now."""
        return state.stage_at(self.clock.now(), self._refreshes.current())

    async def first_results(
        self, idempotency_key: IdempotencyKey | None, count: int
    ) -> list[CommandResult] | None:
        """The results of the first request with this key, or ``None``.

        Raises `IdempotencyKeyReused`. ``None`` is only a hint: `execute_all` checks again, under
        the lock.
        """
        key = idempotency_key
        return None if key is None else await self._repeats.first_results(key, count)

    async def execute(
        self,
        command: Command,
        origin: Origin = NO_ORIGIN,
        idempotency_key: IdempotencyKey | None = None,
    ) -> CommandResult:
        """Decide and write one command; see `execute_all`."""
        return (await self.execute_all([command], origin, idempotency_key))[0]

    async def execute_all(
        self,
        commands: Sequence[GroupedCommand],
        origin: Origin = NO_ORIGIN,
        idempotency_key: IdempotencyKey | None = None,
    ) -> list[CommandResult]:
        """Decide and write commands, all or none; return when they are durable.

        With the credential of an ``origin``, only if that has not ended when the commands are
        decided. Raises `Refusal` if a rule forbids a command, `Overloaded` if the queue
        is full, and `StorageFull`, `LogError`, `VaultUnavailable` or `ClockJumped` if nothing could
        be written. After any error, nothing was acknowledged. Without commands, it takes its turn
        and raises the error of the log or the queue that a write would get now.

        With ``idempotency_key``, a repeated request has no effect and gets the first results, also
        in another process and after a crash. Raises `IdempotencyKeyReused`, and
        `RequestInProgress` while this process is still executing the first.
        """
        if self._task is None or self._closing:
            raise LogUnavailable("the journal is not open")
        with self._repeats.running(idempotency_key):
            future = self._queue.add(commands, origin, idempotency_key)
            with self._instrumentation.write():
                results = await future
            if idempotency_key is not None and results and results[0].replayed:
                return await self._repeats.with_entities(results[0], len(commands))
            return results

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if self._queue:
                    await self._commit()
                    continue
                is_pending = bool(self._destruction.pending)
                await self._queue.wait(DESTROY_RETRY_SECONDS if is_pending else None)
                if is_pending:
                    await self._destruction.retry()
        finally:
            self._closing = True
            self._queue.fail_all()

    async def _commit(self) -> None:
        queued = len(self._queue)
        writes: list[PendingWrite] = []
        try:
            if self._log.position > self._state.position + CATCH_UP_FIRST_EVENTS:
                await self.state()
            timeout = self._config.lock_timeout
            answers = await repeat_on_conflict(timeout, lambda: self._write_next(writes))
        except Exception as error:
            # Without the lock: fail everything that was queued when the wait began, not one batch.
            writes = writes or self._queue.next_writes(queued)
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

    async def _write_next(self, writes: list[PendingWrite]) -> Answers:
        started = time.perf_counter()
        async with self._log.exclusive(self._config.lock_timeout) as appender, self._folding:
            # Fill the batch only after taking the lock: requests that arrived during the wait
            # share the same fsync. An attempt that was refused has filled it already.
            if not writes:
                writes += self._queue.next_batch(self._config.batch)
                self._instrumentation.batch(len(writes), time.perf_counter() - started)
            return await self._write(writes, appender)

    async def _write(self, writes: Sequence[PendingWrite], appender: Appender) -> Answers:
        """Append a batch to the log, then apply it. The caller must hold both locks."""
        if self.fence is not None:
            raise self.fence
        await self._catch_up()
        check_is_first(self._log, appender)
        check_head(appender.head, self._state)
        self.clock.check(self._state.last.time)
        return await self._write_batch(writes, appender)

    async def _write_batch(self, writes: Sequence[PendingWrite], appender: Appender) -> Answers:
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
        now = (self._state, self._keyring, self._runtime, self._refreshes.current())
        batch = Batch(*now, self._erased_number, is_full=is_full)
        for write in writes:
            batch.add(write)
        return batch

    async def _append(self, batch: Batch, appender: Appender) -> None:
        if not batch.lines:
            if batch.checks_room:
                await appender.append((), appender.head)
            return
        if batch.keys:
            await self.vault.put(batch.keys.raw)
        last = batch.records[-1]
        head = Head(last.position, last.hash)
        with self._instrumentation.append(len(batch.lines)):
            await appender.append(batch.lines, head, revokes=batch.revokes)
        self._keyring.update(batch.keys)
        self._destruction.pending |= self._apply(batch.records)
        if self._destruction.pending:
            await self._destruction.retry()
