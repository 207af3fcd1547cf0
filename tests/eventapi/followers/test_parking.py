"""A follower may park a part of a record: it goes on, and tries the part again later."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from eventapi.followers.backoff import Backoff
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import Lease, Parked, ParkingFollower, Progress
from eventapi.testing.given import at
from eventapi.webhooks.follower import WebhookFollower
from events.errors import FollowersUnavailable, StorageFull
from tests.eventapi.followers.following import (
    Delaying,
    Process,
    Recording,
    running,
    unavailable,
    until,
)
from tests.eventapi.harness import Storage, open_harness


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for parts that are due all the time."""
    monkeypatch.setattr("eventapi.followers.runner.STORE_SECONDS", 0.01)
    monkeypatch.setattr("eventapi.followers.runner._STORE_BACKOFF", Backoff(0.01, 0.01))


def parked(store: MemoryFollowers) -> list[Parked]:
    return [*store._parked.get("recording", {}).values()]


async def test_a_parked_part_holds_up_no_record_and_is_tried_until_it_is_done(
    storage: Storage,
) -> None:
    follower, store = Delaying(), MemoryFollowers()
    follower.delayed = {1}
    async with open_harness(storage) as harness, running(harness, follower, store) as process:
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        await until(lambda: follower.handled == [1, 2, 3] and len(follower.retries) > 2)
        assert process.runner.parked == 1
        assert {one.position for one in follower.retries} == {1}
        assert {one.since for one in follower.retries} == {follower.retries[0].since}
        assert [one.attempts for one in follower.retries[:3]] == [1, 2, 3]
        follower.delayed = set()
        await until(lambda: not parked(store))
        assert process.runner.parked == 0
    assert follower.attempts == [1, 2, 3]


async def test_parked_parts_survive_a_restart(storage: Storage, tmp_path: Path) -> None:
    follower, path = Delaying(), tmp_path / "followers.sqlite"
    follower.delayed = {1}
    async with open_harness(storage) as harness:
        await harness.register("ann")
        for _ in range(2):
            before = len(follower.retries)
            async with running(harness, follower, FileFollowers(path)):
                await until(lambda: len(follower.retries) > before + 1)  # noqa: B023
        follower.delayed = set()
        store = FileFollowers(path)
        async with running(harness, follower, store):
            before = len(follower.retries)
            await until(lambda: len(follower.retries) > before)
        lease = await store.acquire("recording")
        assert lease is not None
        assert [*await lease.parked()] == []
        await store.close()
    assert follower.handled == [1]
    assert len({one.since for one in follower.retries}) == 1
    attempts = [one.attempts for one in follower.retries]
    assert attempts == sorted(attempts)


async def test_parked_parts_go_to_the_next_holder(storage: Storage) -> None:
    first, second, store = Delaying(), Delaying(), MemoryFollowers()
    first.delayed = {1}
    async with open_harness(storage) as harness:
        await harness.register("ann")
        one = Process(harness, first, store)
        await until(lambda: bool(first.retries))
        other = Process(harness, second, store)
        assert not second.retries
        await one.stop()
        await until(lambda: bool(second.retries) and not parked(store))
        await other.stop()
    assert second.handled == []


async def test_a_crash_before_the_progress_is_stored_keeps_since_when_a_part_is_parked(
    storage: Storage,
) -> None:
    follower, store = Delaying(), MemoryFollowers()
    follower.delayed = {1}
    known = Parked(1, "letter", at(0), at(0), 3)
    lease = await store.acquire("recording")
    assert lease is not None
    await lease.park(known)
    await lease.store(Progress(0))
    await lease.release()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [1] and bool(follower.retries))
            assert follower.retries[0].since == known.since
            assert follower.retries[0].attempts > known.attempts


async def test_a_part_that_is_done_when_its_record_is_handled_again_is_not_parked(
    storage: Storage,
) -> None:
    follower, store = Delaying(), MemoryFollowers()
    lease = await store.acquire("recording")
    assert lease is not None
    await lease.park(Parked(1, "letter", at(0), at(3_000), 3))
    await lease.store(Progress(0))
    await lease.release()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [1] and not parked(store))
    assert follower.retries == []


async def test_a_retry_that_raises_stays_parked_and_new_records_are_handled(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    follower, store = Delaying(), MemoryFollowers()
    follower.delayed, follower.retry_error = {1}, unavailable()
    async with open_harness(storage) as harness, running(harness, follower, store):
        await harness.register("ann")
        await until(lambda: len(follower.retries) > 1)
        await harness.register("bob")
        await until(lambda: follower.handled == [1, 2])
        assert [one.position for one in parked(store)] == [1]
        follower.retry_error, follower.delayed = None, set()
        await until(lambda: not parked(store))
    assert "could not retry the event at position 1" in caplog.text


async def test_while_the_store_is_full_no_part_is_tried_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To begin again would send a mail that was sent each time."""
    follower, store = Delaying(), MemoryFollowers()
    follower.delayed = {1}
    async with open_harness(storage) as harness, running(harness, follower, store):
        await harness.register("ann")
        await until(lambda: bool(parked(store)))
        errors: list[Exception] = [FollowersUnavailable("no disk"), StorageFull("no room")] * 3
        lease = store._holders["recording"]
        unpark = lease.unpark

        async def fail(one: Parked) -> None:
            if errors:
                raise errors.pop()
            await unpark(one)

        monkeypatch.setattr(lease, "unpark", fail)
        follower.delayed = set()
        await until(lambda: not parked(store))
        done = [one for one in follower.retries if one == follower.retries[-1]]
        assert (errors, len(done)) == ([], 1)


async def test_of_too_many_the_part_that_waits_longest_is_given_up(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eventapi.followers.parking.MOST", 2)
    follower, store = Delaying(), MemoryFollowers()
    follower.delayed = {1, 2, 3}
    async with open_harness(storage) as harness, running(harness, follower, store):
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        await until(lambda: follower.handled == [1, 2, 3])
        await until(lambda: sorted(one.position for one in parked(store)) == [2, 3])
    assert "gives the event at position 1 up" in caplog.text
    assert any(one.levelno == logging.WARNING for one in caplog.records)


async def test_after_a_restore_of_an_older_log_nothing_is_parked(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another record may be at the position."""
    monkeypatch.setattr("eventapi.followers.runner.END_SECONDS", 0.05)
    follower, store = Delaying(first=2), MemoryFollowers()
    lease = await store.acquire("recording")
    assert lease is not None
    await lease.store(Progress(2, "ab" * 32))
    await lease.park(Parked(1, "letter", at(0), at(0)))
    await lease.release()
    async with open_harness(storage) as harness:
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [3])
    assert follower.retries == []
    assert not parked(store)


def test_only_a_follower_that_can_retry_parks() -> None:
    """Webhooks promise their order, so they must not."""
    assert isinstance(Delaying(), ParkingFollower)
    assert not isinstance(Recording(), ParkingFollower)
    assert not hasattr(WebhookFollower, "retry")


async def test_a_follower_without_retries_reads_no_parked_parts(storage: Storage) -> None:
    class Strict(MemoryFollowers):
        async def acquire(self, name: str) -> Lease | None:
            lease = await super().acquire(name)
            if lease is not None:
                lease.parked = None  # type: ignore[method-assign, assignment]
            return lease

    follower = Recording()
    async with open_harness(storage) as harness, running(harness, follower, Strict()):
        await harness.register("ann")
        await until(lambda: follower.handled == [1])
