"""A follower reads each line once, and handles what can be read of it at that time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from eventapi.commands.users import EraseUser
from eventapi.followers.memory import MemoryFollowers
from events.codec import parse
from events.vocabulary.users import Profile, UserRegistered
from tests.eventapi.followers.following import Recording, running, unavailable, until
from tests.eventapi.harness import JournalHarness, Storage, open_harness

NAMES = ("ann", "bob", "cat", "dan", "eve")
Change = Callable[[int, bytes], bytes]


class Reads:
    """What is read of a log, counted and, if a test wants it, changed."""

    def __init__(self, harness: JournalHarness) -> None:
        self.positions: list[int] = []
        self.change: Change = lambda _, line: line
        self._read = harness.log.read

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        position = max(after, 0)
        async for run in self._read(after, upto):
            first, position = position + 1, position + len(run)
            self.positions += range(first, position + 1)
            yield [self.change(at, line) for at, line in enumerate(run, first)]


@contextmanager
def reads_of(harness: JournalHarness) -> Iterator[Reads]:
    """Count the reads of a log inside the context."""
    reads = Reads(harness)
    harness.log.read = reads.read  # type: ignore[method-assign]
    try:
        yield reads
    finally:
        harness.log.read = reads._read  # type: ignore[method-assign]


async def register(harness: JournalHarness, names: Sequence[str]) -> None:
    for name in names:
        await harness.register(name)


async def test_a_line_is_read_once_and_handed_over_with_its_record(storage: Storage) -> None:
    follower = Recording()
    async with open_harness(storage) as harness:
        await register(harness, NAMES)
        lines = await storage.lines()
        with reads_of(harness) as reads:
            async with running(harness, follower, MemoryFollowers()):
                await until(lambda: follower.handled == [1, 2, 3, 4, 5])
    assert reads.positions == [1, 2, 3, 4, 5]
    assert follower.lines == lines
    hashes = [record.hash.hex() for record in follower.records]
    assert hashes == [parse(line).hash for line in lines]


async def test_further_attempts_read_nothing(storage: Storage) -> None:
    follower = Recording()
    follower.error = unavailable()
    async with open_harness(storage) as harness:
        await register(harness, NAMES[:2])
        with reads_of(harness) as reads:
            async with running(harness, follower, MemoryFollowers()):
                await until(lambda: len(follower.attempts) > 5)
    assert reads.positions == [1, 2]


@pytest.mark.parametrize("size", [1, 700, 1 << 17])
async def test_a_read_ends_when_its_wanted_lines_are_large(
    storage: Storage, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.followers.reading.BYTES_PER_READ", size)
    follower = Recording(kinds=lambda kind: kind == "user.registered")
    async with open_harness(storage) as harness:
        await harness.register("ann")
        for _ in range(7):
            await harness.create(1)
            await harness.register(f"user{harness.log.position}")
        await harness.create(1)
        wanted = [1, *range(3, 16, 2)]
        with reads_of(harness) as reads:
            async with running(harness, follower, store := MemoryFollowers()) as process:
                await until(lambda: process.runner.is_holder and process.runner.lag == 0)
    assert follower.handled == follower.attempts == wanted
    assert (len(reads.positions) > 16) == (size < 1 << 17)  # In more than one read.
    stored = await store.read("recording")
    assert stored is not None
    assert stored.position == 16


async def test_values_are_closed_if_their_user_is_erased_after_the_read(storage: Storage) -> None:
    """The line is as it was; but its record is opened anew for each attempt."""
    follower = Recording(kinds=lambda kind: kind == "user.registered")
    follower.error = unavailable()
    async with open_harness(storage) as harness:
        await register(harness, NAMES[:2])
        async with running(harness, follower, MemoryFollowers()):
            await until(lambda: bool(follower.attempts))
            for name in NAMES[:2]:
                await harness.journal.execute(EraseUser(name, "operator/test"))
            follower.error = None
            await until(lambda: follower.handled == [1, 2])
    for record in follower.records:
        assert isinstance(record.event, UserRegistered)
        assert not isinstance(record.event.personal, Profile)


@pytest.mark.parametrize("damaged", [b'"actor":"', b'"hash":"'], ids=["content", "hash"])
async def test_a_damaged_line_is_not_handled_and_those_before_it_are(
    storage: Storage, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Recording()

    def change(position: int, line: bytes) -> bytes:
        return line.replace(damaged, damaged + b"x", 1) if position == 3 else line

    async with open_harness(storage) as harness:
        await register(harness, NAMES)
        with reads_of(harness) as reads:
            reads.change = change
            async with running(harness, follower, MemoryFollowers()) as process:
                await until(lambda: process.failures > 1)
                status = process.runner.status
    assert follower.attempts == [1, 2]
    assert status is not None
    assert (status.position, status.lag) == (2, 3)
    assert "position 3" in caplog.text
