"""Expired sessions are ended and leave memory, on several workers too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.commands.sessions import Lifetime, StartSession
from eventapi.tasks.session_expiry import SESSIONS_PER_BATCH, end_expired
from eventapi.testing.given import at
from events.errors import LogUnavailable
from events.vocabulary.sessions import Device
from tests.eventapi.harness import JournalHarness, Storage, open_harness


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.second = 0

    def __call__(self) -> str:
        return at(self.second)


async def _log_in(harness: JournalHarness, name: str, lifetime: int) -> None:
    seconds = Lifetime(lifetime, lifetime)
    command = StartSession(1, "hash of ann", name, "secret", seconds, Device())
    await harness.journal.execute(command)


async def test_an_expired_session_is_ended_by_an_event(tmp_path: Path) -> None:
    clock = Clock()
    async with open_harness(Storage("jsonl", tmp_path), now=clock) as harness:
        await harness.register("ann")
        await _log_in(harness, "old", 5_000)
        await _log_in(harness, "young", 5_001)
        clock.second = 4_999
        assert await end_expired(harness.journal) == 0
        clock.second = 5_000
        assert await end_expired(harness.journal) == 1
        assert list((await harness.state()).sessions.by_id) == ["young"]
        lines = await harness.storage.lines()
        assert b'"session.ended"' in lines[-1]
        assert b'"actor":"operator/eventapi"' in lines[-1]
        assert b'"reason":"expired"' in lines[-1]
        assert await end_expired(harness.journal) == 0


async def test_only_the_least_recently_used_sessions_are_checked(tmp_path: Path) -> None:
    """The cost of a check does not grow with the number of valid sessions."""
    clock = Clock()
    async with open_harness(Storage("memory", tmp_path), now=clock) as harness:
        await harness.register("ann")
        for number in range(SESSIONS_PER_BATCH + 1):
            await _log_in(harness, f"s{number}", 5_000)
        clock.second = 6_000
        assert await end_expired(harness.journal) == SESSIONS_PER_BATCH
        assert await end_expired(harness.journal) == 1


async def test_concurrent_workers_end_a_session_once(tmp_path: Path) -> None:
    storage, clock = Storage("jsonl", tmp_path), Clock()
    async with open_harness(storage, now=clock) as one, open_harness(storage, now=clock) as other:
        await one.register("ann")
        await _log_in(one, "old", 5_000)
        await other.state()
        clock.second = 6_000
        await asyncio.gather(*(end_expired(each.journal) for each in (one, other)))
    lines = await storage.lines()
    assert sum(b'"session.ended"' in line for line in lines) == 1


async def test_failed_expiry_is_logged(tmp_path: Path) -> None:
    clock = Clock()
    async with open_harness(Storage("memory", tmp_path), now=clock) as harness:
        await harness.register("ann")
        await _log_in(harness, "old", 5_000)
        clock.second = 6_000
        harness.log.error = LogUnavailable("no log today")
        with pytest.raises(LogUnavailable):
            await end_expired(harness.journal)
