"""Sessions that expired are ended, and leave memory, whoever of the workers is first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.commands.sessions import Lifetime, StartSession
from eventapi.tasks.session_expiry import SESSIONS_PER_BATCH, end_expired
from eventapi.testing.given import at
from events.errors import LogUnavailable
from events.vocabulary.sessions import Device
from tests.eventapi.harness import JournalHarness, Storage, opened


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.second = 0

    def __call__(self) -> str:
        return at(self.second)


async def _log_in(house: JournalHarness, name: str, lifetime: int) -> None:
    seconds = Lifetime(lifetime, lifetime)
    command = StartSession(1, "hash of ann", name, "secret", seconds, Device())
    await house.journal.execute(command)


def test_an_expired_session_is_ended_by_an_event(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock()
        async with opened(Storage("jsonl", tmp_path), now=clock) as house:
            await house.register("ann")
            await _log_in(house, "old", 5_000)
            await _log_in(house, "young", 5_001)
            clock.second = 4_999
            assert await end_expired(house.journal) == 0
            clock.second = 5_000
            assert await end_expired(house.journal) == 1
            assert list((await house.state()).sessions.by_id) == ["young"]
            lines = await house.storage.lines()
            assert b'"session.ended"' in lines[-1]
            assert b'"actor":"operator/eventapi"' in lines[-1]
            assert b'"reason":"expired"' in lines[-1]
            assert await end_expired(house.journal) == 0

    asyncio.run(run())


def test_only_the_sessions_unused_for_longest_are_looked_at(tmp_path: Path) -> None:
    """What a look costs does not grow with the sessions that go on."""

    async def run() -> None:
        clock = Clock()
        async with opened(Storage("memory", tmp_path), now=clock) as house:
            await house.register("ann")
            for number in range(SESSIONS_PER_BATCH + 1):
                await _log_in(house, f"s{number}", 5_000)
            clock.second = 6_000
            assert await end_expired(house.journal) == SESSIONS_PER_BATCH
            assert await end_expired(house.journal) == 1

    asyncio.run(run())


def test_workers_that_look_at_the_same_time_end_a_session_once(tmp_path: Path) -> None:
    async def run() -> None:
        storage, clock = Storage("jsonl", tmp_path), Clock()
        async with opened(storage, now=clock) as one, opened(storage, now=clock) as other:
            await one.register("ann")
            await _log_in(one, "old", 5_000)
            await other.state()
            clock.second = 6_000
            await asyncio.gather(*(end_expired(each.journal) for each in (one, other)))
        lines = await storage.lines()
        assert sum(b'"session.ended"' in line for line in lines) == 1

    asyncio.run(run())


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock()
        async with opened(Storage("memory", tmp_path), now=clock) as house:
            await house.register("ann")
            await _log_in(house, "old", 5_000)
            clock.second = 6_000
            house.log.error = LogUnavailable("no log today")
            with pytest.raises(LogUnavailable):
                await end_expired(house.journal)

    asyncio.run(run())
