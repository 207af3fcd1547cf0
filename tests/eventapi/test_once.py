"""Requests with an Idempotency-Key, through the journal: one effect, one answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import pytest

from eventapi.batch import Once, Outcome
from eventapi.commands.items import CreateItem, DeleteItem, UpdateItem
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from events.errors import IdempotencyKeyReused, RequestInProgress, StorageFull
from events.items import Content
from tests.eventapi.house import House, Kind, Storage, opened

KEY = Once("a" * 64, b"r" * 32)
OTHER_REQUEST = Once(KEY.key, b"s" * 32)


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


async def create(house: House, once: Once | None = KEY) -> Outcome:
    return await house.journal.execute(CreateItem(1, Content("a title")), "request", once)


def test_the_second_of_two_same_requests_has_no_effect_and_the_same_answer(
    storage: Storage,
) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            first = await create(house)
            assert await create(house) == first
            assert (await house.state()).position == 2

    asyncio.run(run())


def test_the_answer_is_the_first_also_when_the_entity_has_changed_or_gone_since(
    storage: Storage,
) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            first = await create(house)
            await house.journal.execute(UpdateItem(1, 1, title="changed"))
            assert await create(house) == first
            await house.journal.execute(DeleteItem(1, 1))
            assert await create(house) == first

    asyncio.run(run())


def test_the_first_answer_outlives_the_process_and_holds_in_others(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            first = await create(house)
            async with opened(storage) as other:
                assert (await create(other)).record.position == first.record.position
        async with opened(storage) as house:
            again = await create(house)
            assert again.entity == first.entity
            assert (await house.state()).position == 2

    asyncio.run(run())


def test_another_request_with_the_same_key_is_refused(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await create(house)
            with pytest.raises(IdempotencyKeyReused):
                await create(house, OTHER_REQUEST)
            assert (await house.state()).position == 2

    asyncio.run(run())


def test_a_key_whose_first_request_is_still_running_is_refused(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            house.log.hold()
            first = asyncio.create_task(create(house))
            await house.log.held()
            with pytest.raises(RequestInProgress):
                await create(house)
            house.log.let_go()
            assert (await first).record.position == 2
            assert (await create(house)).record.position == 2

    asyncio.run(run())


def test_a_failed_write_leaves_the_key_free(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            house.log.error = StorageFull("no room")
            with pytest.raises(StorageFull):
                await create(house)
            house.log.error = None
            assert (await create(house)).record.position == 2

    asyncio.run(run())


def test_a_registration_and_a_deletion_have_receipts_too(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            command = RegisterUser(profile("ann"))
            first = await house.journal.execute(command, "", KEY)
            assert await house.journal.execute(command, "", KEY) == first
            await house.create(1)
            once = Once("b" * 64, b"d" * 32)
            gone = await house.journal.execute(DeleteItem(1, 1), "", once)
            assert await house.journal.execute(DeleteItem(1, 1), "", once) == gone
            assert (await house.state()).position == 3

    asyncio.run(run())


def test_the_request_is_sealed_on_the_line_for_it_could_be_guessed(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await create(house)
        line = json.loads((await storage.lines())[-1])
        assert line["idempotencykey"] == KEY.key
        assert KEY.request.hex() not in line["requesthash"]
        assert len(line["requesthash"]) > 64

    asyncio.run(run())
