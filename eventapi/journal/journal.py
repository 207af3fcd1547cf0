"""The journal: the one way to write, and the one way to a state that is up to date.

::

    command ─> queue ─> lock the log ─> catch up ─> decide in a draft ─> append ─> apply ─> answer

A batch takes whatever is queued, so that one sync pays for many commands. A read sees every write
that was acknowledged before it began, by whichever process, because it first compares the position
of its state with that of the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import msgspec

from eventapi.commands.command import Command
from eventapi.commands.sessions import GRACE_SECONDS
from eventapi.commands.users import EraseUserAgain
from eventapi.journal.batch import (
    Batch,
    CommandResult,
    IdempotencyKey,
    PendingWrite,
    Runtime,
    repeat_result,
)
from eventapi.journal.clock import LogClock, Recent
from eventapi.journal.instrumentation import NO_INSTRUMENTATION, Instrumentation
from eventapi.queries.history import History
from events.errors import (
    DamagedLog,
    EventapiError,
    LogFenced,
    LogUnavailable,
    LogUnreachable,
    NotFound,
    Overloaded,
    RequestInProgress,
    StorageFull,
    VaultUnavailable,
)
from events.log.port import Appender, EventLog, Head
from events.messages.erasures import highest_number, users_erased_again, users_without_keys
from events.messages.server_log import BATCH_FAILED, KEYS_NOT_DESTROYED
from events.record import Record, entity_number
from events.sealing import Keyring
from events.vault.port import Vault
from events.vault.tombstones import contents_of
from events.vocabulary.sessions import SessionRefreshed
from events.vocabulary.users import UserErased
from projections.replay import Progress, apply_all, open_records, replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.users import User

logger = logging.getLogger("eventapi.journal")


class JournalConfig(msgspec.Struct, frozen=True):
    """``batch`` and ``queue`` count waiting requests; the timeouts are in seconds.

    A start waits longer for the lock than a write: a worker that gives up its start takes its
    whole server down with it.
    """

    batch: int = 512
    queue: int = 4096
    lock_timeout: float = 5.0
    start_timeout: float = 60.0


DEFAULT_LIMITS = JournalConfig()

CATCH_UP_FIRST_EVENTS = 10_000
"""So many events behind, a journal folds before it locks the log: nobody else can write meanwhile,
and a database takes its lock from whoever stands still with it."""

RETRY_SECONDS = 1.0
"""After how long keys are destroyed that could not be at once."""


class Journal:
    """One per process. `start` before anything else, `close` at the end."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        environment: Runtime,
        limits: JournalConfig = DEFAULT_LIMITS,
        *,
        on_fence: Callable[[], None] = lambda: None,
        snapshots: Snapshots | None = None,
        watch: Instrumentation = NO_INSTRUMENTATION,
        clock: LogClock | None = None,
    ) -> None:
        """``on_fence`` is called when nothing may be written before a restart.

        ``snapshots`` make a start faster; ``watch`` is told how writing goes; ``clock`` is that of
        the environment, with a reference that outlives this process.
        """
        self.snapshots = snapshots
        self._log = log
        self.vault = vault
        self.clock = clock or LogClock(environment.now, environment.uptime)
        self._environment = msgspec.structs.replace(environment, now=self.clock.now)
        self._refreshes = Recent(environment.uptime, GRACE_SECONDS)
        self._limits = limits
        self._on_fence = on_fence
        self._watch = watch
        self._keyring = Keyring()
        self.history = History(log, self._keyring, vault, snapshots)
        self._state = State.empty()
        self._folding = asyncio.Lock()
        self._queue: deque[PendingWrite] = deque()
        self._closing = False
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[str] = set()
        self._pending: set[str] = set()
        self._erased_number = 0
        self.erased_again: Sequence[str] = ()
        """The users that the start erased again: the log was older than their erasure."""

    @property
    def keyring(self) -> Keyring:
        """The keys of all users in the state; to look, not to touch."""
        return self._keyring

    async def start(self, progress: Progress | None = None) -> None:
        """Fold the log, recover its tail, and finish erasures that a crash cut short.

        Raises `LogError`, `StorageFull` and `VaultUnavailable`; then nothing may be served.
        """
        self._state = await replay(
            self._log,
            self._keyring,
            self.vault,
            snapshots=self.snapshots,
            progress=progress,
        )
        exclusive = self._log.exclusive(self._limits.start_timeout)
        async with exclusive as appender, self._folding:
            await self._catch_up()
            self._check_head(appender)
            appender.keep_reserve()
            self.clock.start(self._state.last.time)
            await self._finish_erasures(appender)
        self._task = asyncio.create_task(self._run(), name="journal")

    async def _finish_erasures(self, appender: Appender) -> None:
        """Destroy the keys of erased users, and erase again users whose erasure the log lost.

        The vault keeps a tombstone of every erased user, so it knows of erasures that a restored,
        older log does not have.
        """
        vault = await contents_of(self.vault)
        alive = [user for user in self._state.users.by_id.values() if user.status != "erased"]
        again = [user for user in alive if user.subject in vault.erased]
        keyless = [user.subject for user in alive if user.subject not in self._keyring]
        lost = [subject for subject in keyless if subject not in vault.tombstones]
        if lost:
            raise VaultUnavailable(users_without_keys(lost))
        self._erased_number = highest_number(vault.tombstones)
        if again:
            await self._erase_again(again, appender)
        users = self._state.users.by_id.values()
        erased = {user.subject for user in users if user.status == "erased"}
        unfinished = erased - (vault.tombstones.keys() - vault.keys.keys())
        if unfinished or self._pending:
            await self._destroy(unfinished | self._pending)
            self._pending.clear()

    async def _erase_again(self, users: Sequence[User], appender: Appender) -> None:
        commands = [EraseUserAgain(user.id) for user in users]
        write = PendingWrite(commands, "", asyncio.get_running_loop().create_future())
        for _, result in await self._write_batch([write], appender):
            if isinstance(result, Exception):
                raise result
        self.erased_again = tuple(user.subject for user in users)
        logger.warning(users_erased_again(self.erased_again))

    async def close(self) -> None:
        """Write what is queued, answer it, and stop."""
        self._closing = True
        if self._task is not None:
            self._filled.set()
            # Not cancelled, even if the caller is: a write under way must end under its lock.
            await asyncio.wait([self._task])

    @property
    def pending_destruction(self) -> frozenset[str]:
        """The erased users whose keys could not be destroyed yet; it is tried again and again."""
        return frozenset(self._pending)

    @property
    def queued(self) -> int:
        """How many requests wait to be written."""
        return len(self._queue)

    @property
    def position(self) -> int:
        """How far the log is folded here."""
        return self._state.position

    async def state(self) -> State:
        """The state with everything in it that was acknowledged, by any process, before the call.

        It must be read without suspending, or it is no longer that. Where the database of the log
        cannot be reached, it is what was known before.
        """
        # More than once where, say, a key turned out to be destroyed: then the erasure is published
        # by now, and only the state behind it is whole.
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
            self._track_refreshes(records)

    def _track_refreshes(self, records: Sequence[Record]) -> None:
        for record in records:
            if type(record.event) is SessionRefreshed:
                session = self._state.sessions.by_id.get(record.subject.partition("/")[2])
                if session is not None:
                    self._refreshes.add((session.id, session.generation))

    def stage_now(self, state: State) -> State:
        """A draft of a state in which a command can be decided as if it were its turn now."""
        return state.stage_at(self.clock.now(), self._refreshes.current())

    async def first_outcome(self, once: IdempotencyKey | None) -> CommandResult | None:
        """What the first request with this key came to, if there was one.

        Raises `IdempotencyKeyReused`. Only a hint: `execute` asks again, under the lock.
        """
        if once is None:
            return None
        state = await self.state()
        last = state.last
        receipt = state.idempotency.valid(once.key, self._environment.now(), last.time)
        if receipt is None:
            return None
        return await self._recalled(repeat_result(receipt, once, last.source, self._keyring))

    async def _recalled(self, outcome: CommandResult) -> CommandResult:
        """A replayed outcome with its entity, as it stood then.

        Raises `NotFound` where the user whose request it was is erased meanwhile, and `Overloaded`
        where that user has too many reads of the past.
        """
        record, state = outcome.record, await self.state()
        owner = entity_number(record.sealedfor)
        entity = await self.history.entity_after(record.position, record.subject, state)
        user = (await self.state()).users.by_id.get(owner)
        if user is None or user.status == "erased":
            raise NotFound("the account was erased")
        return CommandResult(record, entity, replayed=True)

    async def execute(
        self,
        command: Command,
        requestid: str = "",
        once: IdempotencyKey | None = None,
        session: str | None = None,
    ) -> CommandResult:
        """Decide and write one command; see `execute_all`.

        With ``once``, the second of two same requests has no effect and gets the first's outcome,
        in whatever process, also after a crash. Raises `IdempotencyKeyReused`, and
        `RequestInProgress` while the first is still running here.
        """
        if once is None:
            return (await self.execute_all([command], requestid, session=session))[0]
        if once.key in self._running:
            raise RequestInProgress("a request with this Idempotency-Key is still running")
        self._running.add(once.key)
        try:
            return (await self.execute_all([command], requestid, once, session))[0]
        finally:
            self._running.discard(once.key)

    async def execute_all(
        self,
        commands: Sequence[Command],
        requestid: str = "",
        once: IdempotencyKey | None = None,
        session: str | None = None,
    ) -> list[CommandResult]:
        """Decide and write commands that stand or fall together; returns when they are durable.

        With ``session``, only if that session goes on when it is their turn. Raises `Refusal` where
        the rules say no, `Overloaded` where too much is queued, `StorageFull`, `LogError`,
        `VaultUnavailable` and `ClockJumped` where nothing could be written. Whatever is raised,
        nothing was acknowledged.
        """
        if self._task is None or self._closing:
            raise LogUnavailable("the journal is not open")
        if not commands:
            return []
        if len(self._queue) >= self._limits.queue:
            raise Overloaded("too many writes are waiting")
        wish = PendingWrite(
            commands, requestid, asyncio.get_running_loop().create_future(), once, session
        )
        self._queue.append(wish)
        self._filled.set()
        with self._watch.write():
            outcomes = await wish.future
        if once is not None and outcomes[0].replayed:
            return [await self._recalled(outcomes[0])]
        return outcomes

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if self._queue:
                    await self._commit()
                else:
                    await self._wait_for_more()
        finally:
            self._closing = True
            for wish in self._queue:
                _answer(wish, LogUnavailable("the journal has stopped"))

    async def _wait_for_more(self) -> None:
        self._filled.clear()
        if not self._pending:
            await self._filled.wait()
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), RETRY_SECONDS)
        await self._destroy_keys()

    async def _destroy_keys(self) -> None:
        """Destroy the keys of the erased; what fails now is tried again, at the latest at a start."""
        try:
            await self._destroy(self._pending)
        except EventapiError as error:
            logger.warning(KEYS_NOT_DESTROYED.fill(reason=error))
        else:
            self._pending.clear()

    async def _destroy(self, subjects: Collection[str]) -> None:
        """Destroy keys; on a full disk with the room that the log keeps in reserve."""
        try:
            await self.vault.destroy(subjects)
        except StorageFull:
            if not await self._log.release_reserve():
                raise
            await self.vault.destroy(subjects)

    def _next_batch(self, most: int) -> list[PendingWrite]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), most))]

    async def _commit(self) -> None:
        waiting = len(self._queue)
        wishes: list[PendingWrite] = []
        try:
            if self._log.position > self._state.position + CATCH_UP_FIRST_EVENTS:
                await self.state()
            started = time.perf_counter()
            async with self._log.exclusive(self._limits.lock_timeout) as appender, self._folding:
                # Only now: the longer others had the lock, the more share what a write costs.
                wishes = self._next_batch(self._limits.batch)
                self._watch.batch(len(wishes), time.perf_counter() - started)
                answers = await self._write(wishes, appender)
        except Exception as error:
            # All these have waited in vain, however many batches they would have been.
            wishes = wishes or self._next_batch(waiting)
            if not isinstance(error, EventapiError):
                logger.exception(BATCH_FAILED)
                error = LogUnavailable("the write failed")
            for wish in wishes:
                _answer(wish, error)
            if isinstance(error, LogFenced):
                logger.critical(error.message)
                self._on_fence()
        else:
            for wish, answer in answers:
                _answer(wish, answer)
        finally:
            for wish in wishes:
                _answer(wish, LogUnavailable("the journal has stopped"))

    async def _write(
        self, wishes: Sequence[PendingWrite], appender: Appender
    ) -> list[tuple[PendingWrite, list[CommandResult] | Exception]]:
        """Bring a batch into the log and then into the state; the state must not move meanwhile."""
        await self._catch_up()
        self._check_head(appender)
        self.clock.check(self._state.last.time)
        return await self._write_batch(wishes, appender)

    async def _write_batch(
        self, wishes: Sequence[PendingWrite], appender: Appender
    ) -> list[tuple[PendingWrite, list[CommandResult] | Exception]]:
        """As `_write`, of a state that is up to date, whatever the clock says."""
        batch = self._decide(wishes)
        try:
            await self._append(batch, appender)
        except StorageFull:
            if batch.revokes:
                raise
            # Decided anew, because positions and hashes change without the others.
            batch = self._decide(wishes, is_full=True)
            await self._append(batch, appender)
        return batch.answers

    def _decide(self, wishes: Sequence[PendingWrite], *, is_full: bool = False) -> Batch:
        batch = Batch(
            self._state,
            self._keyring,
            self._environment,
            self._refreshes.current(),
            self._erased_number,
            is_full=is_full,
        )
        for wish in wishes:
            batch.add(wish)
        return batch

    async def _append(self, batch: Batch, appender: Appender) -> None:
        if not batch.lines:
            return
        if batch.keys:
            await self.vault.put(batch.keys.raw)
        last = batch.records[-1]
        head = Head(last.position, last.hash)
        with self._watch.append(len(batch.lines)):
            await appender.append(batch.lines, head, revokes=batch.revokes)
        self._keyring.update(batch.keys)
        apply_all(batch.records, self._state, self._keyring)
        self._track_refreshes(batch.records)
        self._pending |= {
            record.subject for record in batch.records if type(record.event) is UserErased
        }
        if self._pending:
            await self._destroy_keys()

    def _check_head(self, appender: Appender) -> None:
        """What is folded must end where the log says that it ends."""
        if appender.head.hash != self._state.last.hash:
            raise DamagedLog(
                "the log is not the one that its mark speaks of",
                position=self._state.position,
                offset=self._state.last.end,
            )


def _answer(wish: PendingWrite, answer: list[CommandResult] | Exception) -> None:
    """Tell a waiter, unless they have gone or have been told."""
    if wish.future.done():
        return
    if isinstance(answer, Exception):
        wish.future.set_exception(answer)
    else:
        wish.future.set_result(answer)
