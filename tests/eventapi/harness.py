"""A journal for tests, whose log and vault can be made to wait and to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Literal
from uuid import UUID

from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult, Runtime
from eventapi.journal.config import DEFAULT_CONFIG, JournalConfig
from eventapi.journal.journal import Journal
from eventapi.testing.given import at, profile
from eventapi.testing.items import ITEMS, Content, create_item
from events.log.file.log import JsonlLog
from events.log.memory import MemoryLog
from events.log.port import Appender, EventLog, Head
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from projections.state import State

Kind = Literal["memory", "jsonl"]

_random = Random(7)  # Shared by all journals, because a nonce must never be used twice.


class Storage:
    """A log and a vault that outlive a process, in memory or in a directory."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self._directory = directory
        self._kept = (MemoryLog(), MemoryVault()) if kind == "memory" else None

    def open(self) -> tuple[EventLog, Vault]:
        """Open the log and the vault, as another process does."""
        if self._kept is not None:
            return self._kept
        log = JsonlLog(self._directory / "events.jsonl")
        return log, SqliteVault(self._directory / "vault.sqlite")

    async def lines(self) -> list[bytes]:
        """The published lines."""
        log, vault = self.open()
        lines = [line async for run in log.read() for line in run]
        await log.close()
        await vault.close()
        return lines

    async def keys(self) -> dict[str, bytes]:
        """The keys in the vault."""
        log, vault = self.open()
        keys = await vault.all()
        await log.close()
        await vault.close()
        return keys


class ControlledLog:
    """A log that counts appends; a test can make an append wait or fail."""

    false_head: Head | None = None
    """A wrong head that an appender reports."""

    def __init__(self, inner: EventLog, trace: list[str]) -> None:
        self._inner = inner
        self._trace = trace
        self.batches: list[int] = []
        self.error: Exception | None = None
        self._gate = asyncio.Event()
        self._gate.set()
        self._reached = asyncio.Event()

    @property
    def position(self) -> int:
        return self._inner.position

    @property
    def lost_for(self) -> float:
        return self._inner.lost_for

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        return self._inner.read(after, upto)

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[Appender]:
        async with self._inner.exclusive(timeout) as appender:
            yield ControlledAppender(self, appender)

    def hold(self) -> None:
        """Make every append wait until `release`."""
        self._reached.clear()
        self._gate.clear()

    async def wait_until_held(self) -> None:
        """Wait until an append waits, and every other task has run meanwhile."""
        await asyncio.wait_for(self._reached.wait(), 10)
        for _ in range(10):
            await asyncio.sleep(0)

    def release(self) -> None:
        """Let waiting appends continue."""
        self._gate.set()

    async def release_reserve(self) -> bool:
        return await self._inner.release_reserve()

    async def append_through(
        self, appender: Appender, lines: Sequence[bytes], head: Head, *, revokes: bool
    ) -> None:
        """Append after `release`, or raise the error that the test has set."""
        self._reached.set()
        await self._gate.wait()
        self._trace.append("append")
        if self.error is not None:
            raise self.error
        await appender.append(lines, head, revokes=revokes)
        self.batches.append(len(lines))

    async def close(self) -> None:
        await self._inner.close()


class ControlledAppender:
    """The holder of the lock of a `ControlledLog`."""

    def __init__(self, log: ControlledLog, inner: Appender) -> None:
        self._log = log
        self._inner = inner
        self.head = log.false_head or inner.head

    def keep_reserve(self) -> None:
        self._inner.keep_reserve()

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        await self._log.append_through(self._inner, lines, head, revokes=revokes)


class ControlledVault:
    """A vault that fails if the test has set an error."""

    def __init__(self, inner: Vault, trace: list[str]) -> None:
        self.inner = inner
        self._trace = trace
        self.error: Exception | None = None

    async def put(self, keys: Mapping[str, bytes]) -> None:
        self._trace.append("put")
        if self.error is not None:
            raise self.error
        await self.inner.put(keys)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        if self.error is not None:
            raise self.error
        return await self.inner.get(subjects)

    async def all(self) -> dict[str, bytes]:
        return await self.inner.all()

    async def destroy(self, subjects: Collection[str]) -> None:
        await self.inner.destroy(subjects)

    async def tombstones(self) -> dict[str, frozenset[bytes]]:
        return await self.inner.tombstones()

    async def add_tombstones(self, tombstones: Mapping[str, Collection[bytes]]) -> None:
        await self.inner.add_tombstones(tombstones)

    async def close(self) -> None:
        await self.inner.close()


class JournalHarness:
    """A journal as one process has it, over a `ControlledLog` and a `ControlledVault`.

    ``trace`` has the names of the steps "put" (a key) and "append" in their order; ``fenced`` has
    an entry for each call of ``on_fence``.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        now: Callable[[], str] | None = None,
        limits: JournalConfig = DEFAULT_CONFIG,
    ) -> None:
        log, vault = storage.open()
        ticks = count(1)
        self.storage = storage
        self.trace: list[str] = []
        self.fenced: list[bool] = []
        self.log = ControlledLog(log, self.trace)
        self.vault = ControlledVault(vault, self.trace)
        environment = Runtime(
            now or (lambda: at(next(ticks))),
            lambda: str(UUID(bytes=_random.randbytes(16))),
            _random.randbytes,
        )
        self.journal = Journal(
            self.log,
            self.vault,
            ITEMS,
            environment,
            limits,
            on_fence=lambda: self.fenced.append(True),
        )

    async def register(self, name: str) -> CommandResult:
        """Register a user."""
        return await self.journal.execute(RegisterUser(profile(name)))

    async def create(self, owner: int, title: str = "a title") -> CommandResult:
        """Create an item."""
        return await self.journal.execute(create_item(owner, Content(title)))

    async def sums(self) -> tuple[str, str]:
        """Digest and checksum of the state."""
        state = await self.journal.state()
        return state.digest(), state.checksum()

    async def state(self) -> State:
        return await self.journal.state()


async def delete_key(harness: JournalHarness, subject: str) -> None:
    """Delete a key from the vault's storage, without a tombstone."""
    vault = harness.vault.inner
    if isinstance(vault, SqliteVault):
        await vault._call(lambda db: db.execute("DELETE FROM keys WHERE subject = ?", [subject]))
    else:
        assert isinstance(vault, MemoryVault)
        del vault._keys[subject]


@asynccontextmanager
async def open_harness(
    storage: Storage,
    *,
    now: Callable[[], str] | None = None,
    limits: JournalConfig = DEFAULT_CONFIG,
) -> AsyncIterator[JournalHarness]:
    """Start a journal, and close it at the end."""
    harness = JournalHarness(storage, now=now, limits=limits)
    try:
        await harness.journal.start()
        yield harness
    finally:
        harness.log.release()
        await harness.journal.close()
        await harness.log.close()
        await harness.vault.close()
