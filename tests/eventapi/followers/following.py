"""Followers for tests, and a process that runs one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from math import inf

from eventapi.followers.backoff import Backoff
from eventapi.followers.port import FollowerStore, Parked
from eventapi.followers.runner import Runner
from eventapi.queries.subscriptions import LogWatcher
from events.errors import NotDelivered
from events.io.tasks import cancel_and_wait
from events.record import Record
from projections.state import State
from tests.eventapi.harness import JournalHarness

QUICK = Backoff(0.01, 0.01)


class Recording:
    """A follower that records the positions that it handled; a test can make it fail."""

    name = "recording"

    def __init__(self, first: int = 0, kinds: Callable[[str], bool] = lambda _: True) -> None:
        self.handled: list[int] = []
        self.records: list[Record] = []
        self.lines: list[bytes] = []
        self.attempts: list[int] = []
        self.error: Exception | None = None
        self.first = first
        self._kinds = kinds
        self.gate = asyncio.Event()
        self.gate.set()

    def wants(self, kind: str, state: State) -> bool:
        return self._kinds(kind)

    async def first_position(self, state: State) -> int:
        return min(self.first, state.position)

    async def handle(self, record: Record, line: bytes, state: State) -> Collection[str] | None:
        assert state.position >= record.position
        self.attempts.append(record.position)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.handled.append(record.position)
        self.records.append(record)
        self.lines.append(line)
        return None


class Delaying(Recording):
    """A follower of mail-like parts, of which some are delayed."""

    def __init__(self, first: int = 0) -> None:
        super().__init__(first)
        self.delayed: set[int] = set()
        self.retries: list[Parked] = []
        self.retry_error: Exception | None = None

    async def handle(self, record: Record, line: bytes, state: State) -> Collection[str]:
        await super().handle(record, line, state)
        return ["letter"] if record.position in self.delayed else []

    async def retry(self, record: Record, state: State, parked: Parked) -> bool:
        assert (record.position, parked.part) == (parked.position, "letter")
        self.retries.append(parked)
        if self.retry_error is not None:
            raise self.retry_error
        return record.position not in self.delayed


def unavailable() -> NotDelivered:
    """A foreseen failure."""
    return NotDelivered("the mail server does not answer")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)


class Process:
    """A runner in a task, as one process has it."""

    def __init__(self, harness: JournalHarness, follower: Recording, store: FollowerStore) -> None:
        self.watcher = LogWatcher(harness.log)
        self.failures = 0
        self.runner = Runner(
            follower,
            store,
            harness.journal,
            self.watcher,
            backoff=QUICK,
            parked_backoff=QUICK,
            on_failure=self._count,
        )
        self.task = asyncio.create_task(self.runner.run())

    async def _count(self, _: str) -> float:
        self.failures += 1
        return inf

    async def stop(self) -> None:
        """Stop as a server does that gets SIGTERM."""
        self.watcher.close()
        await asyncio.wait([self.task], timeout=30)
        await cancel_and_wait(self.task)


@asynccontextmanager
async def running(
    harness: JournalHarness, follower: Recording, store: FollowerStore
) -> AsyncIterator[Process]:
    """Run a follower inside the context, and close its store."""
    process = Process(harness, follower, store)
    try:
        yield process
    finally:
        await process.stop()
        await store.close()
