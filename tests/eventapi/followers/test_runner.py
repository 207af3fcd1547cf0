"""A follower handles every record, in order, at least once, in one process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from math import inf
from pathlib import Path

import pytest

from eventapi.commands.users import EraseUser
from eventapi.followers.backoff import Backoff
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import Lease, Progress
from events.errors import FollowersUnavailable
from events.io.tasks import cancel_and_wait
from events.record import Record
from events.vocabulary.users import Profile, UserRegistered
from projections.state import State
from tests.eventapi.followers.following import Process, Recording, running, unavailable, until
from tests.eventapi.harness import Storage, open_harness


async def test_records_are_handled_in_order_with_their_values(storage: Storage) -> None:
    follower = Recording()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, MemoryFollowers()):
            await until(lambda: follower.handled == [1])
            await harness.register("bob")
            await harness.create(1)
            await until(lambda: follower.handled == [1, 2, 3])
    event = follower.records[1].event
    assert isinstance(event, UserRegistered)
    assert isinstance(event.personal, Profile)
    assert event.personal.username == "bob"


async def test_the_values_of_an_erased_user_stay_closed(storage: Storage) -> None:
    follower = Recording(kinds=lambda kind: kind == "user.registered")
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.journal.execute(EraseUser("ann", "users/1"))
        async with running(harness, follower, MemoryFollowers()):
            await until(lambda: follower.handled == [1])
    event = follower.records[0].event
    assert isinstance(event, UserRegistered)
    assert not isinstance(event.personal, Profile)


async def test_a_follower_continues_after_its_stored_position(storage: Storage) -> None:
    follower, store = Recording(), MemoryFollowers()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [1])
        await harness.register("bob")
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [1, 2])


async def test_a_new_follower_begins_at_its_first_position_and_stores_it(
    storage: Storage,
) -> None:
    """Otherwise a later start would compute a later one, and skip what was never handled."""
    follower, store = Recording(first=1), MemoryFollowers()
    follower.gate.clear()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("bob")
        process = Process(harness, follower, store)
        await until(lambda: bool(follower.attempts))
        await cancel_and_wait(process.task)
        follower.first = 2
        follower.gate.set()
        await harness.register("cat")
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [2, 3])
    assert set(follower.attempts) == {2, 3}


async def test_a_failed_record_is_repeated_before_the_next_one(storage: Storage) -> None:
    follower, store = Recording(), MemoryFollowers()
    follower.error = unavailable()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("bob")
        async with running(harness, follower, store) as process:
            await until(lambda: len(follower.attempts) > 3)
            assert set(follower.attempts) == {1}
            stored = await store.read("recording")
            assert stored is not None
            assert (stored.position, stored.status) == (0, str(unavailable()))
            assert stored.failing_since
            status = process.runner.status
            assert status is not None
            assert (status.position, status.lag) == (0, 2)
            assert status.failing_since == stored.failing_since
            assert process.failures > 2
            follower.error = None
            await until(lambda: follower.handled == [1, 2])
            await until(lambda: process.runner.lag == 0)
    stored = await store.read("recording")
    assert stored is not None
    assert (stored.position, stored.failing_since, stored.status) == (2, "", "")


async def test_an_unforeseen_error_is_repeated_and_its_text_is_not_stored(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    follower, store = Recording(), MemoryFollowers()
    follower.error = RuntimeError("ann@example.org")
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, store):
            await until(lambda: len(follower.attempts) > 1)
            stored = await store.read("recording")
            assert stored is not None
            assert stored.status == "RuntimeError"
            follower.error = None
            await until(lambda: follower.handled == [1])
    assert "ann@example.org" not in "".join(one.getMessage() for one in caplog.records)
    assert any(one.levelno == logging.WARNING and one.exc_info for one in caplog.records)


async def test_unwanted_records_are_passed_over_and_that_is_stored_at_a_clean_stop(
    storage: Storage,
) -> None:
    follower, store = Recording(kinds=lambda kind: kind == "user.registered"), MemoryFollowers()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        for _ in range(5):
            await harness.create(1)
        async with running(harness, follower, store) as process:
            await until(lambda: process.runner.is_holder and process.runner.lag == 0)
    assert follower.handled == [1]
    stored = await store.read("recording")
    assert stored is not None
    assert stored.position == 6


async def test_of_two_processes_one_handles_and_the_other_continues_after_it(
    storage: Storage, tmp_path: Path
) -> None:
    stores = [FileFollowers(tmp_path / "followers.sqlite") for _ in range(2)]
    followers = [Recording(), Recording()]
    async with open_harness(storage) as harness:
        processes = [
            Process(harness, follower, store)
            for follower, store in zip(followers, stores, strict=True)
        ]
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        handled = [one.handled for one in followers]
        await until(lambda: sorted(handled) == [[], [1, 2, 3]])
        holder = 0 if handled[0] else 1
        assert [one.runner.is_holder for one in processes] == [holder == 0, holder == 1]
        other = processes[1 - holder].runner
        await until(lambda: other.status is not None and other.status.position == 3)
        await processes[holder].stop()
        await harness.register("dan")
        await until(lambda: handled[1 - holder] == [4])
        await processes[1 - holder].stop()
        for store in stores:
            await store.close()
    assert handled[holder] == [1, 2, 3]


async def test_a_crash_before_the_store_repeats_the_record_and_skips_none(
    storage: Storage, tmp_path: Path
) -> None:
    """The process ends while a record is handled, which may have taken effect."""
    follower = Recording()
    async with open_harness(storage) as harness:
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        for _ in range(3):
            follower.gate.clear()
            store = FileFollowers(tmp_path / "followers.sqlite")
            process = Process(harness, follower, store)
            attempts = len(follower.attempts)
            await until(lambda: len(follower.attempts) > attempts)  # noqa: B023
            await cancel_and_wait(process.task)
            await store.close()
        assert follower.attempts == [1, 1, 1]
        follower.gate.set()
        async with running(harness, follower, FileFollowers(tmp_path / "followers.sqlite")):
            await until(lambda: follower.handled == [1, 2, 3])


async def test_the_lease_is_released_however_slowly_the_work_ends(storage: Storage) -> None:
    """A runner is cancelled again and again; a kept lease would lock out the next runner."""

    class Slow(Recording):
        async def handle(self, record: Record, line: bytes, state: State) -> None:
            try:
                await super().handle(record, line, state)
            finally:
                for _ in range(10):
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(0.05)

    follower, store = Slow(), MemoryFollowers()
    follower.gate.clear()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        process = Process(harness, follower, store)
        await until(lambda: bool(follower.attempts))
        await cancel_and_wait(process.task)
        lease = await store.acquire(follower.name)
    assert lease is not None


async def test_a_holder_that_lost_its_lease_handles_nothing_more(storage: Storage) -> None:
    """A process that was stopped between two attempts continues before it notices the loss."""

    class Unnoticed(MemoryFollowers):
        async def acquire(self, name: str) -> Lease | None:
            lease = await super().acquire(name)
            if lease is not None:
                lease.keep = asyncio.Event().wait  # type: ignore[method-assign, assignment]
            return lease

    follower, store = Recording(), Unnoticed()
    follower.error = unavailable()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        process = Process(harness, follower, store)

        async def lose(_: str) -> float:
            store._holders[follower.name].lost.set()
            return inf

        process.runner._on_failure = lose
        await until(lambda: bool(follower.attempts))
        await asyncio.sleep(0.2)
        await process.stop()
    assert follower.attempts == [1]


@pytest.mark.parametrize(
    "stored",
    [Progress(2, "ab" * 32), Progress(40, "ab" * 32)],
    ids=["other record", "past the end"],
)
async def test_after_a_restore_of_an_older_log_no_new_record_is_skipped(
    storage: Storage, stored: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new records are at positions that the follower has completed in the lost log."""
    monkeypatch.setattr("eventapi.followers.runner.END_SECONDS", 0.05)
    follower, store = Recording(first=1), MemoryFollowers()
    lease = await store.acquire("recording")
    assert lease is not None
    await lease.store(stored)
    await lease.release()
    async with open_harness(storage) as harness:
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        async with running(harness, follower, store):
            await until(lambda: follower.handled == [2, 3])


class FullStore(MemoryFollowers):
    """A store whose disk a test can fill."""

    is_full = False

    async def acquire(self, name: str) -> Lease | None:
        lease = await super().acquire(name)
        if lease is None:
            return None
        store = lease.store

        async def store_unless_full(progress: Progress) -> None:
            if self.is_full:
                raise FollowersUnavailable("no room")
            await store(progress)

        lease.store = store_unless_full  # type: ignore[method-assign]
        return lease


async def test_while_progress_cannot_be_stored_no_record_is_repeated(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.followers.runner._STORE_BACKOFF", Backoff(0.01, 0.01))
    follower, store = Recording(), FullStore()
    async with open_harness(storage) as harness, running(harness, follower, store):
        await until(lambda: "recording" in store._holders)
        store.is_full = True
        await harness.register("ann")
        await harness.register("bob")
        await until(lambda: bool(follower.handled))
        await asyncio.sleep(0.1)
        assert follower.handled == [1]
        store.is_full = False
        await until(lambda: follower.handled == [1, 2])
    assert follower.attempts == [1, 2]


async def test_a_holder_that_lost_its_lease_stops_at_once(storage: Storage) -> None:
    follower, store = Recording(), MemoryFollowers()
    follower.gate.clear()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, store):
            await until(lambda: follower.attempts == [1])
            await store.remove("recording")
            # The task that waited at the gate is cancelled, and the follower begins again.
            await until(lambda: follower.attempts == [1, 1])
            follower.gate.set()
            await until(lambda: follower.handled == [1])


async def test_the_warning_about_a_damaged_store_says_what_to_type(
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("eventapi.followers.runner._STORE_BACKOFF", Backoff(0.01, 0.01))
    path, follower = tmp_path / "followers.sqlite", Recording()
    path.write_bytes(b"damaged " * 100)
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with running(harness, follower, FileFollowers(path)):
            await until(lambda: "the follower recording waits" in caplog.text)
            assert f"if it is damaged: `rm {path}`" in caplog.text
            path.unlink()
            await until(lambda: follower.handled == [1])


async def test_no_request_waits_for_a_follower(storage: Storage) -> None:
    follower, store = Recording(), MemoryFollowers()
    follower.gate.clear()
    async with open_harness(storage) as harness, running(harness, follower, store):
        for number in range(20):
            await harness.register(f"user{number}")
        assert (await harness.state()).position == 20
        assert follower.handled == []
        follower.gate.set()
        await until(lambda: follower.handled == [*range(1, 21)])
