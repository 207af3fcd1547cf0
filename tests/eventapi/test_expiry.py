"""Sessions that expired are ended, and leave memory, whoever of the workers is first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.commands.sessions import StartSession
from eventapi.expiry import AT_ONCE, end_expired
from eventapi.testing.given import at
from events.errors import LogUnavailable
from events.sessions import Device
from tests.eventapi.house import House, Storage, opened


async def _log_in(house: House, name: str, expires_at: str) -> None:
    command = StartSession(1, "hash of ann", name, "secret", expires_at, Device())
    await house.journal.execute(command)


def test_an_expired_session_is_ended_by_an_event(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(Storage("jsonl", tmp_path)) as house:
            await house.register("ann")
            await _log_in(house, "old", at(5_000))
            await _log_in(house, "young", at(5_001))
            assert await end_expired(house.journal, at(5_000)) == 1
            assert list((await house.state()).sessions.by_id) == ["young"]
            lines = await house.storage.lines()
            assert b'"session.ended"' in lines[-1]
            assert b'"actor":"operator/eventapi"' in lines[-1]
            assert b'"reason":"expired"' in lines[-1]
            assert await end_expired(house.journal, at(5_000)) == 0

    asyncio.run(run())


def test_only_the_sessions_unused_for_longest_are_looked_at(tmp_path: Path) -> None:
    """What a look costs does not grow with the sessions that go on."""

    async def run() -> None:
        async with opened(Storage("memory", tmp_path)) as house:
            await house.register("ann")
            for number in range(AT_ONCE + 1):
                await _log_in(house, f"s{number}", at(5_000))
            assert await end_expired(house.journal, at(6_000)) == AT_ONCE
            assert await end_expired(house.journal, at(6_000)) == 1

    asyncio.run(run())


def test_workers_that_look_at_the_same_time_end_a_session_once(tmp_path: Path) -> None:
    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            await _log_in(one, "old", at(5_000))
            await other.state()
            await asyncio.gather(*(end_expired(each.journal, at(6_000)) for each in (one, other)))
        lines = await storage.lines()
        assert sum(b'"session.ended"' in line for line in lines) == 1

    asyncio.run(run())


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(Storage("memory", tmp_path)) as house:
            await house.register("ann")
            await _log_in(house, "old", at(5_000))
            house.log.error = LogUnavailable("no log today")
            with pytest.raises(LogUnavailable):
                await end_expired(house.journal, at(6_000))

    asyncio.run(run())
