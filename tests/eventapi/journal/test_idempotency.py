"""Requests with an Idempotency-Key, through the journal: one effect, one answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack

import msgspec
import pytest

from eventapi.commands.command import Command
from eventapi.commands.users import EraseUser, GrantRole, RegisterUser, UpdateProfile
from eventapi.journal.batch import CommandResult, IdempotencyKey
from eventapi.journal.origin import NO_ORIGIN, Origin
from eventapi.queries.history import History
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item, delete_item, restore_item, update_item
from events.errors import (
    IdempotencyKeyReused,
    NotFound,
    Overloaded,
    RequestInProgress,
    StorageFull,
)
from projections.state import State
from projections.tables.idempotency import Changed
from tests.eventapi.harness import JournalHarness, Storage, open_harness

KEY = IdempotencyKey("a" * 64, b"r" * 32)
OTHER_REQUEST = IdempotencyKey(KEY.key, b"s" * 32)


async def create(harness: JournalHarness, once: IdempotencyKey | None = KEY) -> CommandResult:
    return await harness.journal.execute(
        create_item(1, Content("a title")), Origin("request"), once
    )


def same(first: CommandResult, second: CommandResult) -> bool:
    """Whether two outcomes lead to the same answer."""
    assert second.replayed > first.replayed
    return (first.record.position, first.entity) == (second.record.position, second.entity)


async def test_repeated_request_has_no_effect_and_the_same_answer(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        first = await create(harness)
        assert same(first, await create(harness))
        assert (await harness.state()).position == 2


async def test_repeated_request_gets_the_first_answer_after_a_change_or_deletion(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        first = await create(harness)
        await harness.journal.execute(update_item(1, 1, title="changed"))
        assert same(first, await create(harness))
        await harness.journal.execute(delete_item(1, 1))
        assert same(first, await create(harness))


async def test_first_answer_is_known_after_a_restart_and_in_other_processes(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        first = await create(harness)
        async with open_harness(storage) as other:
            assert (await create(other)).record.position == first.record.position
    async with open_harness(storage) as harness:
        again = await create(harness)
        assert again.entity == first.entity
        assert (await harness.state()).position == 2


async def test_repeated_request_counts_as_a_history_read_of_its_user(
    storage: Storage,
) -> None:
    """Unless the item did not change since: then nothing of the past is read."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        first = await create(harness)
        with ExitStack() as reads:
            for _ in range(32):
                reads.enter_context(harness.journal.history.admit(1))
            assert same(first, await create(harness))
            await harness.journal.execute(update_item(1, 1, title="changed"))
            with pytest.raises(Overloaded):
                await create(harness)
        assert same(first, await create(harness))


async def test_another_request_with_the_same_key_is_refused(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await create(harness)
        with pytest.raises(IdempotencyKeyReused):
            await create(harness, OTHER_REQUEST)
        assert (await harness.state()).position == 2


async def test_a_key_whose_first_request_is_still_running_is_refused(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        harness.log.hold()
        first = asyncio.create_task(create(harness))
        await harness.log.wait_until_held()
        with pytest.raises(RequestInProgress):
            await create(harness)
        harness.log.release()
        assert (await first).record.position == 2
        assert (await create(harness)).record.position == 2


async def test_a_failed_write_leaves_the_key_free(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        harness.log.error = StorageFull("no room")
        with pytest.raises(StorageFull):
            await create(harness)
        harness.log.error = None
        assert (await create(harness)).record.position == 2


async def test_registrations_and_deletions_are_idempotent_too(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        command = RegisterUser(profile("ann"))
        first = await harness.journal.execute(command, NO_ORIGIN, KEY)
        assert same(first, await harness.journal.execute(command, NO_ORIGIN, KEY))
        await harness.create(1)
        once = IdempotencyKey("b" * 64, b"d" * 32)
        gone = await harness.journal.execute(delete_item(1, 1), NO_ORIGIN, once)
        assert same(gone, await harness.journal.execute(delete_item(1, 1), NO_ORIGIN, once))
        assert (await harness.state()).position == 3


CHANGES: dict[str, Command] = {
    "create": create_item(1, Content("new", "text")),
    "replace": update_item(1, 1, "new", "text"),
    "clear": update_item(1, 1, description=None),
    "patch": update_item(1, 1, title="patched"),
    "delete": delete_item(1, 1),
    "restore": restore_item(1, 1, 2, Content("old", None)),
}
"""The changes that a request with a key may make to the first user's item."""


@pytest.mark.parametrize("change", CHANGES)
async def test_replayed_result_has_the_entity_right_after_its_event(
    storage: Storage, change: str
) -> None:
    """The entity is read from the log, even if the item was changed, deleted or restored since."""
    later: list[Command] = [
        update_item(1, 1, title="later"),
        update_item(1, 1, description="later"),
        delete_item(1, 1),
        restore_item(1, 1, 2, Content("restored")),
    ]

    async def run() -> None:
        async with open_harness(storage) as harness:
            await harness.register("ann")
            for number in range(3):
                await harness.journal.execute(create_item(1, Content(f"item {number}", "text")))
            first = await harness.journal.execute(CHANGES[change], NO_ORIGIN, KEY)
            assert same(first, await harness.journal.execute(CHANGES[change], NO_ORIGIN, KEY))
            for command in later if change != "delete" else later[-1:]:
                await harness.journal.execute(command)
                assert same(first, await harness.journal.execute(CHANGES[change], NO_ORIGIN, KEY))
        async with open_harness(storage) as harness:
            assert same(first, await harness.journal.execute(CHANGES[change], NO_ORIGIN, KEY))

    await run()


async def test_a_replayed_registration_has_the_user_as_registered(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        command = RegisterUser(profile("ann"))
        first = await harness.journal.execute(command, NO_ORIGIN, KEY)
        await harness.journal.execute(UpdateProfile(1, "other@example.org", "Ann"))
        await harness.journal.execute(GrantRole("ann", "auditor", "operator/root"))
        assert same(first, await harness.journal.execute(command, NO_ORIGIN, KEY))


async def test_repeated_request_of_a_user_erased_meanwhile_is_not_found(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = History.entity_after

    async def run() -> None:
        async with open_harness(storage) as harness:

            async def erase_first(
                past: History, position: int, subject: str, state: State
            ) -> Changed:
                await harness.journal.execute(EraseUser("ann", "users/1"))
                return await recall(past, position, subject, state)

            await harness.register("ann")
            await create(harness)
            await harness.journal.execute(update_item(1, 1, title="changed"))
            monkeypatch.setattr(History, "entity_after", erase_first)
            with pytest.raises(NotFound):
                await create(harness)

    await run()


async def test_repeated_request_after_a_clock_jump_gets_the_first_answer(storage: Storage) -> None:
    """The clock of one process is a year ahead, and stays there."""
    times = iter([f"2026-01-01T00:00:0{second}.000000Z" for second in range(3)])

    async def run() -> None:
        async with open_harness(
            storage, now=lambda: next(times, "2027-01-01T00:00:00.000000Z")
        ) as harness:
            await harness.register("ann")
            first = await create(harness)
            await harness.create(1)
            await harness.create(1)
            assert same(first, await create(harness))
            assert await harness.journal.first_results(KEY, 1) is not None

    await run()


async def test_idempotency_records_of_large_entities_take_no_more_memory(
    storage: Storage,
) -> None:
    """They have no personal value, whether open or sealed."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        command = create_item(1, Content("t" * 200, "\N{GRINNING FACE}" * 5000))
        await harness.journal.execute(command, NO_ORIGIN, KEY)
        records = (await harness.state()).idempotency.by_key
        assert len(msgspec.msgpack.encode(records[KEY.key])) < 200


async def test_hash_of_the_request_is_sealed_on_the_line(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await create(harness)
    line = json.loads((await storage.lines())[-1])
    assert line["idempotencykey"] == KEY.key
    assert KEY.request.hex() not in line["requesthash"]
    assert len(line["requesthash"]) > 64
