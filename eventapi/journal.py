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
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from eventapi.commands.command import Command
from events.codec import encode
from events.errors import (
    DamagedLog,
    EventapiError,
    LogFenced,
    LogUnavailable,
    Overloaded,
    VaultUnavailable,
)
from events.log.port import Appender, EventLog, Head
from events.record import Record
from events.sealing import KEY_BYTES, NONCE_BYTES, Keyring
from events.users import UserRegistered
from events.vault.port import Vault
from projections.replay import Progress, apply_all, open_records, replay
from projections.state import Entity, State

logger = logging.getLogger("eventapi.journal")


class Outcome(msgspec.Struct, frozen=True):
    """What a command came to: its record, now durable, and the entity as it stood right after."""

    record: Record
    entity: Entity


class Environment(msgspec.Struct, frozen=True):
    """What the outside world provides: the time, and what cannot be guessed.

    ``now`` gives RFC 3339 in UTC with microseconds, ``new_uuid`` a UUID in its text form, and
    ``random_bytes(n)`` n bytes from a secure source.
    """

    now: Callable[[], str]
    new_uuid: Callable[[], str]
    random_bytes: Callable[[int], bytes]


class Limits(msgspec.Struct, frozen=True):
    """``batch`` and ``queue`` count waiting requests; ``lock_timeout`` is in seconds."""

    batch: int = 512
    queue: int = 4096
    lock_timeout: float = 5.0


DEFAULT_LIMITS = Limits()


class _Wish(msgspec.Struct, eq=False):
    """Commands that stand or fall together, and who waits for them."""

    commands: Sequence[Command]
    requestid: str
    answer: asyncio.Future[list[Outcome]]


class _Batch:
    """The draft of one batch: what is decided and encoded, but not yet written."""

    def __init__(self, state: State, keyring: Keyring, environment: Environment) -> None:
        self._draft = state.draft()
        self._keyring = keyring
        self._environment = environment
        self._source = state.last.source or f"urn:uuid:{environment.new_uuid()}"
        self._time = max(environment.now(), state.last.time)
        self.new_keys: dict[str, bytes] = {}
        self.lines: list[bytes] = []
        self.records: list[Record] = []
        self.answers: list[tuple[_Wish, list[Outcome]]] = []

    def take(self, wish: _Wish) -> None:
        """Decide a wish whole or not at all; raises what `decide` raises."""
        # Only a wish of several commands can fail half-way, so only it needs a draft of its own.
        single = len(wish.commands) == 1
        draft = self._draft if single else self._draft.draft()
        lines: list[bytes] = []
        outcomes: list[Outcome] = []
        for done, command in enumerate(wish.commands, 1):
            record, line = self._record(command, draft, wish.requestid, len(wish.commands) - done)
            lines.append(line)
            outcomes.append(Outcome(record, draft.apply(record)))
        records = [outcome.record for outcome in outcomes]
        if not single:
            for record in records:
                self._draft.apply(record)
        self.lines += lines
        self.records += records
        self.answers.append((wish, outcomes))

    def _record(
        self, command: Command, draft: State, requestid: str, remaining: int
    ) -> tuple[Record, bytes]:
        decision = command.decide(draft)
        if isinstance(decision.event, UserRegistered):
            key = self._environment.random_bytes(KEY_BYTES)
            self.new_keys[decision.sealedfor] = key
            self._keyring.add(decision.sealedfor, key)
        elif decision.sealedfor and decision.sealedfor not in self._keyring:
            raise VaultUnavailable(f"the key of {decision.sealedfor} is missing")
        record = Record(
            draft.position + 1,
            self._source,
            decision.subject,
            self._time,
            decision.actor,
            decision.event,
            decision.sealedfor,
            requestid,
        )
        nonce = self._environment.random_bytes(NONCE_BYTES)
        line, digest = encode(record, draft.last.hash, self._keyring, nonce, remaining)
        end = draft.last.end + len(line) + 1
        return msgspec.structs.replace(record, hash=digest, end=end), line


class Journal:
    """One per process. `start` before anything else, `close` at the end."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        environment: Environment,
        limits: Limits = DEFAULT_LIMITS,
        on_fence: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_fence`` is called when nothing may be written before a restart."""
        self._log = log
        self._vault = vault
        self._environment = environment
        self._limits = limits
        self._on_fence = on_fence
        self._keyring = Keyring()
        self._state = State.empty()
        self._catching_up = asyncio.Lock()
        self._queue: deque[_Wish] = deque()
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, progress: Progress | None = None) -> None:
        """Fold the log, recover its tail, and finish erasures that a crash cut short.

        Raises `LogError`, `VaultUnavailable` and `UnknownEvent`; then nothing may be served.
        """
        self._state = await replay(self._log, self._keyring, self._vault, progress=progress)
        async with self._log.exclusive(self._limits.lock_timeout) as appender:
            await self._catch_up()
            self._check_head(appender)
            await self._finish_erasures()
        self._task = asyncio.create_task(self._run(), name="journal")

    async def _finish_erasures(self) -> None:
        users = self._state.users.by_id.values()
        erased = {user.subject for user in users if user.status == "erased"}
        await self._vault.destroy(erased & (await self._vault.all()).keys())
        lost = [
            user.subject
            for user in users
            if user.status != "erased" and user.subject not in self._keyring
        ]
        if lost:
            raise VaultUnavailable(
                f"the vault has no key for {lost[0]} and {len(lost) - 1} others: "
                "it is not the one that belongs to this log"
            )

    async def close(self) -> None:
        """Write what is queued, answer it, and stop."""
        if self._task is not None:
            while self._queue:
                self._filled.set()
                await asyncio.sleep(0.001)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def queued(self) -> int:
        """How many requests wait to be written."""
        return len(self._queue)

    async def state(self) -> State:
        """The state with everything in it that was acknowledged, by any process, before the call.

        It must be read without suspending, or it is no longer that.
        """
        if self._log.position != self._state.position:
            await self._catch_up()
        return self._state

    async def _catch_up(self) -> None:
        async with self._catching_up:
            async for lines in self._log.read(self._state.position):
                records = await open_records(lines, self._state, self._keyring, self._vault)
                apply_all(records, self._state, self._keyring)

    async def execute(self, command: Command, requestid: str = "") -> Outcome:
        """Decide and write one command; see `execute_all`."""
        return (await self.execute_all([command], requestid))[0]

    async def execute_all(self, commands: Sequence[Command], requestid: str = "") -> list[Outcome]:
        """Decide and write commands that stand or fall together; returns when they are durable.

        Raises `Refusal` where the rules say no, `Overloaded` where too much is queued, `LogError`
        and `VaultUnavailable` where nothing could be written. Whatever is raised, nothing was
        acknowledged.
        """
        if len(self._queue) >= self._limits.queue:
            raise Overloaded("too many writes are waiting")
        wish = _Wish(commands, requestid, asyncio.get_running_loop().create_future())
        self._queue.append(wish)
        self._filled.set()
        return await wish.answer

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                size = min(len(self._queue), self._limits.batch)
                await self._commit([self._queue.popleft() for _ in range(size)])

    async def _commit(self, wishes: Sequence[_Wish]) -> None:
        try:
            async with self._log.exclusive(self._limits.lock_timeout) as appender:
                answers = await self._write(wishes, appender)
        except Exception as error:
            if not isinstance(error, EventapiError):
                logger.exception("a batch failed")
                error = LogUnavailable("the write failed")
            for wish in wishes:
                _answer(wish, error)
            if isinstance(error, LogFenced):
                logger.critical("%s", error)
                self._on_fence()
        else:
            for wish, outcomes in answers:
                if not wish.answer.done():
                    wish.answer.set_result(outcomes)

    async def _write(
        self, wishes: Sequence[_Wish], appender: Appender
    ) -> list[tuple[_Wish, list[Outcome]]]:
        await self._catch_up()
        self._check_head(appender)
        batch = _Batch(self._state, self._keyring, self._environment)
        for wish in wishes:
            try:
                batch.take(wish)
            except EventapiError as refusal:
                _answer(wish, refusal)
        if not batch.lines:
            return []
        try:
            if batch.new_keys:
                await self._vault.put(batch.new_keys)
            last = batch.records[-1]
            await appender.append(batch.lines, Head(last.position, last.hash))
        except BaseException:
            for subject in batch.new_keys:
                self._keyring.pop(subject, None)
            raise
        apply_all(batch.records, self._state, self._keyring)
        return batch.answers

    def _check_head(self, appender: Appender) -> None:
        """What is folded must end where the log says that it ends."""
        if appender.head.hash != self._state.last.hash:
            raise DamagedLog(
                "the log is not the one that its mark speaks of",
                position=self._state.position,
                offset=self._state.last.end,
            )


def _answer(wish: _Wish, error: Exception) -> None:
    if not wish.answer.done():
        wish.answer.set_exception(error)
