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

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventapi.commands.command import Command
from events.codec import encode
from events.errors import (
    DamagedLog,
    EventapiError,
    Fault,
    Invalid,
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


class _NewKeys(Keyring):
    """Keys of users that are not written yet, over those of the users that are."""

    def __init__(self, base: Keyring) -> None:
        super().__init__()
        self._base = base
        self.raw: dict[str, bytes] = {}

    def __missing__(self, subject: str) -> AESGCM:
        return self._base[subject]

    def add(self, subject: str, key: bytes) -> None:
        super().add(subject, key)
        self.raw[subject] = key

    def take(self, other: _NewKeys) -> None:
        """Take in the keys of what will be written."""
        self.update(other)
        self.raw.update(other.raw)


class _Batch:
    """The draft of one batch: what is decided and encoded, but not yet written."""

    def __init__(self, state: State, keyring: Keyring, environment: Environment) -> None:
        self._draft = state.draft()
        self._environment = environment
        self._source = state.last.source or f"urn:uuid:{environment.new_uuid()}"
        self._time = max(environment.now(), state.last.time)
        self.keys = _NewKeys(keyring)
        self.lines: list[bytes] = []
        self.records: list[Record] = []
        self.answers: list[tuple[_Wish, list[Outcome] | Exception]] = []

    def take(self, wish: _Wish) -> None:
        """Decide a wish whole or not at all.

        A refusal, too, is only told when the batch is written: it may rest on what an earlier
        command of the same batch did.
        """
        try:
            outcomes = self._decide(wish)
        except EventapiError as refusal:
            self.answers.append((wish, refusal))
        except Exception as error:
            logger.exception("a command could not be decided")
            self.answers.append((wish, error))
        else:
            self.answers.append((wish, outcomes))

    def _decide(self, wish: _Wish) -> list[Outcome]:
        # Only a wish of several commands can fail half-way, so only it needs a draft of its own.
        single = len(wish.commands) == 1
        draft, keys = self._draft, self.keys
        if not single:
            draft, keys = draft.draft(), _NewKeys(keys)
        lines: list[bytes] = []
        outcomes: list[Outcome] = []
        for done, command in enumerate(wish.commands, 1):
            remaining = len(wish.commands) - done
            record, line = self._record(command, draft, keys, wish.requestid, remaining)
            lines.append(line)
            outcomes.append(Outcome(record, draft.apply(record)))
        records = [outcome.record for outcome in outcomes]
        if not single:
            for record in records:
                self._draft.apply(record)
            self.keys.take(keys)
        self.lines += lines
        self.records += records
        return outcomes

    def _record(
        self, command: Command, draft: State, keys: _NewKeys, requestid: str, remaining: int
    ) -> tuple[Record, bytes]:
        decision = command.decide(draft)
        new_keys = None
        if isinstance(decision.event, UserRegistered):
            new_keys = _NewKeys(keys)
            new_keys.add(decision.sealedfor, self._environment.random_bytes(KEY_BYTES))
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
        try:
            line, digest = encode(record, draft.last.hash, new_keys or keys, nonce, remaining)
        except KeyError:
            raise VaultUnavailable(f"the key of {decision.sealedfor} is missing") from None
        except ValueError as error:
            raise Invalid(Fault("", f"it cannot be written down: {error}")) from error
        if new_keys:
            keys.take(new_keys)
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
        self._folding = asyncio.Lock()
        self._queue: deque[_Wish] = deque()
        self._closing = False
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, progress: Progress | None = None) -> None:
        """Fold the log, recover its tail, and finish erasures that a crash cut short.

        Raises `LogError`, `VaultUnavailable` and `UnknownEvent`; then nothing may be served.
        """
        self._state = await replay(self._log, self._keyring, self._vault, progress=progress)
        exclusive = self._log.exclusive(self._limits.lock_timeout)
        async with exclusive as appender, self._folding:
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
        self._closing = True
        if self._task is not None:
            self._filled.set()
            # Not cancelled, even if the caller is: a write under way must end under its lock.
            await asyncio.wait([self._task])

    @property
    def queued(self) -> int:
        """How many requests wait to be written."""
        return len(self._queue)

    async def state(self) -> State:
        """The state with everything in it that was acknowledged, by any process, before the call.

        It must be read without suspending, or it is no longer that.
        """
        # More than once where, say, a key turned out to be destroyed: then the erasure is published
        # by now, and only the state behind it is whole.
        while self._log.position > self._state.position:
            async with self._folding:
                await self._catch_up()
        return self._state

    async def _catch_up(self) -> None:
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
        if self._task is None or self._closing:
            raise LogUnavailable("the journal is not open")
        if not commands:
            return []
        if len(self._queue) >= self._limits.queue:
            raise Overloaded("too many writes are waiting")
        wish = _Wish(commands, requestid, asyncio.get_running_loop().create_future())
        self._queue.append(wish)
        self._filled.set()
        return await wish.answer

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if self._queue:
                    size = min(len(self._queue), self._limits.batch)
                    await self._commit([self._queue.popleft() for _ in range(size)])
                else:
                    self._filled.clear()
                    await self._filled.wait()
        finally:
            self._closing = True
            for wish in self._queue:
                _answer(wish, LogUnavailable("the journal has stopped"))

    async def _commit(self, wishes: Sequence[_Wish]) -> None:
        try:
            async with self._log.exclusive(self._limits.lock_timeout) as appender, self._folding:
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
            for wish, answer in answers:
                _answer(wish, answer)
        finally:
            for wish in wishes:
                _answer(wish, LogUnavailable("the journal has stopped"))

    async def _write(
        self, wishes: Sequence[_Wish], appender: Appender
    ) -> list[tuple[_Wish, list[Outcome] | Exception]]:
        """Bring a batch into the log and then into the state; the state must not move meanwhile."""
        await self._catch_up()
        self._check_head(appender)
        batch = _Batch(self._state, self._keyring, self._environment)
        for wish in wishes:
            batch.take(wish)
        if batch.lines:
            if batch.keys:
                await self._vault.put(batch.keys.raw)
            last = batch.records[-1]
            await appender.append(batch.lines, Head(last.position, last.hash))
            self._keyring.update(batch.keys)
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


def _answer(wish: _Wish, answer: list[Outcome] | Exception) -> None:
    """Tell a waiter, unless they have gone or have been told."""
    if wish.answer.done():
        return
    if isinstance(answer, Exception):
        wish.answer.set_exception(answer)
    else:
        wish.answer.set_result(answer)
