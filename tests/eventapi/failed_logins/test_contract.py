"""The contract of `eventapi.failed_logins.port`, for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from eventapi.failed_logins.file import FileFailedLogins
from eventapi.failed_logins.port import MAX_NAMES, FailedLogins, FailedLoginStore
from eventapi.followers.file import FileFollowers
from eventapi.testing.given import at
from events.errors import FollowersUnavailable
from events.vocabulary.security import OTHER_NAMES
from tests.eventapi.failed_logins.stores import KINDS, Open, opener

HOME, WORK, LAST = "aa" * 16, "bb" * 16, at(99_000)
ANN = FailedLogins(at(600), "users/1", HOME, 2, "sealed")


@pytest.fixture(params=KINDS)
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """A function that opens the store; every opened one is closed when the test ends."""
    async with AsyncExitStack() as stack:
        yield opener(request.param, request, tmp_path, stack)


def name(number: int, count: int = 1, address: str = HOME, window: int = 600) -> FailedLogins:
    return FailedLogins(at(window), f"security/{number:032x}", address, count)


async def all_of(store: FailedLoginStore) -> list[FailedLogins]:
    """The counts that are not 0."""
    return [one for one in await store.read(LAST, 1_000) if one.count]


async def test_a_new_store_has_nothing(open_store: Open) -> None:
    store = await open_store()
    assert await store.read(LAST, 10) == []
    await store.add([])
    await store.remove([ANN])
    assert await store.read(LAST, 10) == []


async def test_counts_add_up_over_all_openings_and_the_last_device_stays(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    await store.add([ANN])
    await other.add([FailedLogins(at(600), "users/1", HOME, 3, "the last")])
    found = [FailedLogins(at(600), "users/1", HOME, 5, "the last")]
    assert await all_of(store) == await all_of(await open_store()) == found


async def test_each_window_subject_and_address_is_counted_apart(open_store: Open) -> None:
    store = await open_store()
    counts = [
        FailedLogins(window, subject, address, 1, "sealed")
        for window in (at(0), at(600))
        for subject in ("users/1", "users/2")
        for address in (HOME, WORK)
    ]
    await store.add(counts[::-1])
    assert await all_of(store) == counts


async def test_counts_that_are_added_at_once_are_all_counted(open_store: Open) -> None:
    stores = [await open_store() for _ in range(3)]
    counts = [ANN, name(1), FailedLogins(at(600), "users/2", WORK, 1, "sealed")]
    await asyncio.gather(*(store.add(counts) for store in stores * 4))
    assert {one.subject: one.count for one in await all_of(stores[0])} == {
        "users/1": 24,
        "users/2": 12,
        name(1).subject: 12,
    }


async def test_reading_is_by_window_and_limited(open_store: Open) -> None:
    store = await open_store()
    ends = [FailedLogins(at(600 * number), "users/1", HOME, 1, "s") for number in range(5)]
    await store.add(ends[::-1])
    assert await store.read(at(1_200), 10) == ends[:3]
    assert await store.read(at(1_799), 2) == ends[:2]


async def test_only_what_is_removed_is_gone(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    others = [FailedLogins(at(600), "users/2", HOME, 1, "s"), name(1)]
    await store.add([ANN, *others])
    await other.remove([ANN])
    left = await all_of(store)
    assert sorted(one.subject for one in left) == sorted(one.subject for one in others)
    await store.remove(await store.read(LAST, 10))
    assert await other.read(LAST, 10) == []


async def test_further_unknown_names_of_an_address_are_counted_together(open_store: Open) -> None:
    store = await open_store()
    for number in range(MAX_NAMES + 5):
        await store.add([name(number)])
    await store.add([name(0), name(MAX_NAMES, 2), name(MAX_NAMES + 1, window=0)])
    await store.add([name(99, address=WORK), ANN])
    found = {(one.window, one.subject, one.address_hash): one.count for one in await all_of(store)}
    named = {(at(600), name(number).subject, HOME): 1 for number in range(1, MAX_NAMES)}
    assert found == named | {
        (at(600), name(0).subject, HOME): 2,
        (at(600), OTHER_NAMES, HOME): 7,
        (at(0), name(MAX_NAMES + 1).subject, HOME): 1,
        (at(600), name(99).subject, WORK): 1,
        (at(600), "users/1", HOME): 2,
    }


async def test_names_that_are_added_at_once_keep_the_limit(open_store: Open) -> None:
    stores = [await open_store() for _ in range(4)]
    await asyncio.gather(
        *(
            store.add([name(10 * part + one) for one in range(6)])
            for part, store in enumerate(stores)
        )
    )
    found = await all_of(stores[0])
    assert sum(one.count for one in found) == 24
    assert len([one for one in found if one.has_unknown_name]) == MAX_NAMES


async def test_a_file_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "followers.sqlite").write_text("no database")
    store = FileFailedLogins(FileFollowers(tmp_path / "followers.sqlite"))
    with pytest.raises(FollowersUnavailable):
        await store.add([ANN])
    with pytest.raises(FollowersUnavailable):
        await store.read(LAST, 1)
    with pytest.raises(FollowersUnavailable):
        await store.remove([ANN])
