"""Requests with an Idempotency-Key, through the journal: one effect, one answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import msgspec
import pytest

from eventapi.commands.command import Command
from eventapi.commands.items import CreateItem, DeleteItem, RestoreItem, UpdateItem
from eventapi.commands.users import EraseUser, GrantRole, RegisterUser, UpdateProfile
from eventapi.journal.batch import CommandResult, IdempotencyKey
from eventapi.queries.history import History
from eventapi.testing.given import profile
from events.errors import (
    IdempotencyKeyReused,
    NotFound,
    Overloaded,
    RequestInProgress,
    StorageFull,
)
from events.vocabulary.items import Content
from projections.state import State
from projections.tables.idempotency import Entity
from tests.eventapi.harness import JournalHarness, Kind, Storage, opened

KEY = IdempotencyKey("a" * 64, b"r" * 32)
OTHER_REQUEST = IdempotencyKey(KEY.key, b"s" * 32)


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


async def create(house: JournalHarness, once: IdempotencyKey | None = KEY) -> CommandResult:
    return await house.journal.execute(CreateItem(1, Content("a title")), "request", once)


def same(first: CommandResult, second: CommandResult) -> bool:
    """Whether two outcomes lead to the same answer."""
    assert second.replayed > first.replayed
    return (first.record.position, first.entity) == (second.record.position, second.entity)


def test_the_second_of_two_same_requests_has_no_effect_and_the_same_answer(
    storage: Storage,
) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            first = await create(house)
            assert same(first, await create(house))
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
            assert same(first, await create(house))
            await house.journal.execute(DeleteItem(1, 1))
            assert same(first, await create(house))

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


def test_a_replay_is_one_of_the_reads_of_the_past_that_a_user_may_have(storage: Storage) -> None:
    """Unless the item did not change since: then nothing of the past is read."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            first = await create(house)
            with ExitStack() as reads:
                for _ in range(32):
                    reads.enter_context(house.journal.history.admit(1))
                assert same(first, await create(house))
                await house.journal.execute(UpdateItem(1, 1, title="changed"))
                with pytest.raises(Overloaded):
                    await create(house)
            assert same(first, await create(house))

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
            assert same(first, await house.journal.execute(command, "", KEY))
            await house.create(1)
            once = IdempotencyKey("b" * 64, b"d" * 32)
            gone = await house.journal.execute(DeleteItem(1, 1), "", once)
            assert same(gone, await house.journal.execute(DeleteItem(1, 1), "", once))
            assert (await house.state()).position == 3

    asyncio.run(run())


CHANGES: dict[str, Command] = {
    "create": CreateItem(1, Content("new", "text")),
    "replace": UpdateItem(1, 1, "new", "text"),
    "clear": UpdateItem(1, 1, description=None),
    "patch": UpdateItem(1, 1, title="patched"),
    "delete": DeleteItem(1, 1),
    "restore": RestoreItem(1, 1, 2, Content("old", None)),
}
"""What a request with a key may do to the item of the journal's first user."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_replayed_outcome_has_the_entity_as_it_stood_then(storage: Storage, change: str) -> None:
    """Rebuilt from the log, whatever became of the item since: changed, deleted, restored."""
    later: list[Command] = [
        UpdateItem(1, 1, title="later"),
        UpdateItem(1, 1, description="later"),
        DeleteItem(1, 1),
        RestoreItem(1, 1, 2, Content("restored")),
    ]

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            for number in range(3):
                await house.journal.execute(CreateItem(1, Content(f"item {number}", "text")))
            first = await house.journal.execute(CHANGES[change], "", KEY)
            assert same(first, await house.journal.execute(CHANGES[change], "", KEY))
            for command in later if change != "delete" else later[-1:]:
                await house.journal.execute(command)
                assert same(first, await house.journal.execute(CHANGES[change], "", KEY))
        async with opened(storage) as house:
            assert same(first, await house.journal.execute(CHANGES[change], "", KEY))

    asyncio.run(run())


def test_a_replayed_registration_has_the_user_as_registered(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            command = RegisterUser(profile("ann"))
            first = await house.journal.execute(command, "", KEY)
            await house.journal.execute(UpdateProfile(1, "other@example.org", "Ann"))
            await house.journal.execute(GrantRole("ann", "auditor", "operator/root"))
            assert same(first, await house.journal.execute(command, "", KEY))

    asyncio.run(run())


def test_a_user_who_is_erased_during_a_replay_gets_no_blank_answer(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = History.entity_after

    async def run() -> None:
        async with opened(storage) as house:

            async def erase_first(
                past: History, position: int, subject: str, state: State
            ) -> Entity:
                await house.journal.execute(EraseUser("ann", "users/1"))
                return await recall(past, position, subject, state)

            await house.register("ann")
            await create(house)
            await house.journal.execute(UpdateItem(1, 1, title="changed"))
            monkeypatch.setattr(History, "entity_after", erase_first)
            with pytest.raises(NotFound):
                await create(house)

    asyncio.run(run())


def test_a_retry_after_a_clock_jump_gets_the_first_answer(storage: Storage) -> None:
    """The clock of one process is a year ahead, and stays there."""
    times = iter([f"2026-01-01T00:00:0{second}.000000Z" for second in range(3)])

    async def run() -> None:
        async with opened(storage, now=lambda: next(times, "2027-01-01T00:00:00.000000Z")) as house:
            await house.register("ann")
            first = await create(house)
            await house.create(1)
            await house.create(1)
            assert same(first, await create(house))
            assert await house.journal.first_result(KEY) is not None

    asyncio.run(run())


def test_receipts_of_large_entities_cost_no_more_than_those_of_small_ones(
    storage: Storage,
) -> None:
    """They keep nothing of what was typed, opened or sealed."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            command = CreateItem(1, Content("t" * 200, "\N{GRINNING FACE}" * 5000))
            await house.journal.execute(command, "", KEY)
            receipts = (await house.state()).idempotency.by_key
            assert len(msgspec.msgpack.encode(receipts[KEY.key])) < 200

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
