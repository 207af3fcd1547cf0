"""The contract of `eventapi.followers.port`, for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from eventapi.followers import runner, sql
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import TAKEOVER_SECONDS, FollowerStore, Lease, Parked, Progress
from eventapi.followers.sql import SqlFollowers
from eventapi.testing.given import at
from events.database.drivers import IDLE_SECONDS, LOCK_SECONDS
from events.database.tables import FOLLOWERS
from events.errors import FollowersUnavailable, LeaseLost
from events.io.tasks import cancel_and_wait
from tests.eventapi.followers.stores import KINDS, Open, opener

FIRST = Progress(7, "ab" * 32)
FAILING = Progress(7, "ab" * 32, "2026-01-01T00:00:00.000000Z", "it answered 451")

PARKED = [
    Parked(7, "verification", at(1), at(2)),
    Parked(7, "email-changed", at(1), at(3), 4),
    Parked(2**60, "verification", at(2), at(2)),
]


@pytest.fixture(params=KINDS)
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """A function that opens the store; every opened one is closed when the test ends."""
    open_one = opener(request.param, request, tmp_path)
    async with AsyncExitStack() as stack:

        async def open_once_more() -> FollowerStore:
            store = await open_one()
            stack.push_async_callback(store.close)
            return store

        yield open_once_more


def test_another_process_takes_over_in_time() -> None:
    """The constants, and no measurement: of a stopped holder, and of one in a transaction.

    The clock of the database is in whole seconds. The transaction locks the row until the database
    ends it; the attempts meanwhile fail, and the pauses between them grow.
    """
    stopped = sql.LEASE_SECONDS + 1 + runner.ACQUIRE_SECONDS
    in_transaction = IDLE_SECONDS + LOCK_SECONDS + runner._STORE_BACKOFF.longest
    assert max(stopped, in_transaction) <= TAKEOVER_SECONDS


async def acquired(store: FollowerStore, name: str = "mail") -> Lease:
    lease = await store.acquire(name)
    assert lease is not None
    return lease


async def test_a_new_follower_has_no_progress(open_store: Open) -> None:
    store = await open_store()
    assert await store.read("mail") is None
    assert await (await acquired(store)).read() is None


async def test_stored_progress_is_read_by_every_opening(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    for progress in (FIRST, FAILING, Progress(0), Progress(2**60, "cd" * 32)):
        await lease.store(progress)
        assert await lease.read() == await store.read("mail") == await other.read("mail")
        assert await other.read("mail") == progress


async def test_followers_have_progress_and_holders_of_their_own(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    mail, hook = await acquired(store), await acquired(other, "webhook-1")
    await mail.store(FIRST)
    assert await hook.read() is None
    await hook.store(FAILING)
    assert await other.read("mail") == FIRST


async def test_a_follower_has_one_holder(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    assert await other.acquire("mail") is None
    assert await store.acquire("mail") is None
    await lease.store(FIRST)


async def test_of_many_that_try_at_once_one_becomes_the_holder(open_store: Open) -> None:
    stores = [await open_store() for _ in range(4)]
    found = await asyncio.gather(*(store.acquire("mail") for store in stores * 3))
    assert len([lease for lease in found if lease is not None]) == 1


async def test_a_released_lease_is_free_at_once(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    await lease.store(FIRST)
    await lease.release()
    await lease.release()
    assert await (await acquired(other)).read() == FIRST


async def test_a_released_lease_stores_nothing(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    await lease.store(FIRST)
    await lease.release()
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await lease.store(FAILING)
        assert await store.read("mail") == FIRST
        await other.acquire("mail")


async def test_a_removed_follower_is_forgotten_and_its_lease_lost(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    await lease.store(FIRST)
    await other.remove("mail")
    with pytest.raises(LeaseLost):
        await lease.store(FAILING)
    if isinstance(store, MemoryFollowers | FileFollowers):
        with pytest.raises(LeaseLost):
            lease.check()
    assert await store.read("mail") is None
    assert await (await acquired(other)).read() is None


async def test_a_missing_follower_can_be_removed(open_store: Open) -> None:
    await (await open_store()).remove("mail")


@pytest.mark.long
async def test_keeping_ends_when_the_lease_is_lost(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    keeping = asyncio.ensure_future(lease.keep())
    await asyncio.sleep(0.05)
    assert not keeping.done()
    await other.remove("mail")
    await asyncio.wait_for(keeping, 60)


async def test_keeping_can_be_cancelled_and_the_lease_is_still_held(open_store: Open) -> None:
    store = await open_store()
    lease = await acquired(store)
    keeping = asyncio.ensure_future(lease.keep())
    await asyncio.sleep(0.05)
    await cancel_and_wait(keeping)
    await lease.store(FIRST)


# Parked parts


def by_key(parked: Sequence[Parked]) -> list[Parked]:
    return sorted(parked, key=lambda one: one.key)


async def test_parked_parts_are_kept_by_position_and_part(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    lease = await acquired(store)
    assert [*await lease.parked()] == []
    for one in PARKED:
        await lease.park(one)
    assert by_key(await lease.parked()) == by_key(PARKED)
    again = replace(PARKED[0], due=at(9), attempts=2)
    await lease.park(again)
    assert by_key(await lease.parked()) == by_key([again, *PARKED[1:]])
    for one in (PARKED[1], PARKED[1]):
        await lease.unpark(one)
    hook = await acquired(other, "webhook-1")
    assert [*await hook.parked()] == []
    await lease.release()
    lease = await acquired(other)
    assert by_key(await lease.parked()) == by_key([again, PARKED[2]])


async def test_a_follower_that_is_removed_has_no_parked_parts(open_store: Open) -> None:
    store = await open_store()
    lease, hook = await acquired(store), await acquired(store, "webhook-1")
    await lease.park(PARKED[0])
    await hook.park(PARKED[1])
    await store.remove("mail")
    for change in (lease.park, lease.unpark):
        with pytest.raises(LeaseLost):
            await change(PARKED[0])
    assert [*await (await acquired(store)).parked()] == []
    assert [*await hook.parked()] == [PARKED[1]]


# Leases that end by themselves


@pytest.fixture(params=KINDS[2:])
async def databases(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[SqlFollowers, SqlFollowers]]:
    """Two openings of a store in a database."""
    open_one = opener(request.param, request, tmp_path)
    stores = [cast("SqlFollowers", await open_one()) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


async def end_lease(store: SqlFollowers) -> None:
    """Do as if the holder had been stopped for longer than its lease."""
    assert await store.change(update(FOLLOWERS).values(lease_until=store.now - 1))


async def test_an_ended_lease_is_taken_over_and_the_former_holder_changes_nothing(
    databases: tuple[SqlFollowers, SqlFollowers],
) -> None:
    store, other = databases
    former = await acquired(store)
    await former.store(FIRST)
    await end_lease(other)
    lease = await acquired(other)
    await lease.store(FAILING)
    with pytest.raises(LeaseLost):
        await former.store(Progress(1_000))
    await lease.park(PARKED[0])
    with pytest.raises(LeaseLost):
        await former.park(PARKED[1])
    with pytest.raises(LeaseLost):
        await former.unpark(PARKED[0])
    await former.release()
    assert await other.acquire("mail") is None
    assert await lease.read() == FAILING
    assert [*await lease.parked()] == [PARKED[0]]


async def test_an_ended_lease_that_no_other_process_took_is_still_good(
    databases: tuple[SqlFollowers, SqlFollowers],
) -> None:
    store, other = databases
    lease = await acquired(store)
    await end_lease(other)
    await lease.store(FIRST)
    assert await other.acquire("mail") is None


async def test_a_holder_that_was_stopped_for_its_lease_handles_nothing_more(
    databases: tuple[SqlFollowers, SqlFollowers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It continues where it was, before it asks the database."""
    store, _ = databases
    lease = await acquired(store)
    lease.check()
    monkeypatch.setattr("eventapi.followers.sql.LEASE_SECONDS", 1)
    with pytest.raises(LeaseLost):
        lease.check()
    monkeypatch.undo()
    await lease.store(FIRST)
    lease.check()


async def test_keeping_renews_the_lease(
    databases: tuple[SqlFollowers, SqlFollowers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.followers.sql._RENEW_SECONDS", 0.2)
    store, other = databases
    lease = await acquired(store)
    await end_lease(other)
    keeping = asyncio.ensure_future(lease.keep())
    await asyncio.sleep(1)
    assert await other.acquire("mail") is None
    await cancel_and_wait(keeping)


async def test_a_holder_that_cannot_reach_the_database_stops_before_its_lease_ends(
    databases: tuple[SqlFollowers, SqlFollowers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.followers.sql._RENEW_SECONDS", 0.1)
    monkeypatch.setattr("eventapi.followers.sql.LEASE_SECONDS", 2)
    store, _ = databases

    async def fail(*_: object) -> bool:
        raise FollowersUnavailable("unreachable")

    lease = await acquired(store)
    monkeypatch.setattr(SqlFollowers, "change", fail)
    await asyncio.wait_for(lease.keep(), 30)
    await lease.release()


# Files


async def test_files_belong_to_the_owner_alone(tmp_path: Path) -> None:
    store = FileFollowers(tmp_path / "followers.sqlite")
    await (await acquired(store)).store(FIRST)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"followers.sqlite": 0o600, "followers.mail.lock": 0o600}
    await store.close()


async def test_reading_creates_nothing(tmp_path: Path) -> None:
    store = FileFollowers(tmp_path / "followers.sqlite")
    assert await store.read("mail") is None
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_or_unusable_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "followers.sqlite"
    path.write_bytes(b"no database, but long enough to be taken for one" * 100)
    store = FileFollowers(path)
    lease = await acquired(store)
    for work in (store.read("mail"), lease.store(FIRST)):
        with pytest.raises(FollowersUnavailable, match=r"followers\.sqlite"):
            await work
    with pytest.raises(FollowersUnavailable):
        await FileFollowers(tmp_path / "missing" / "followers.sqlite").acquire("mail")
    await store.close()
