"""Quotas of users: refused commands, counting in the fold, and exceptions."""

from __future__ import annotations

import asyncio

import pytest

from eventapi.commands.command import Command
from eventapi.commands.quota import Quota
from eventapi.commands.users import EraseUser
from eventapi.journal.batch import CommandResult
from eventapi.testing.given import at, created, given, registered
from eventapi.testing.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
    create_item,
    delete_item,
    import_item,
    restore_item,
    update_item,
)
from events.errors import QuotaExceeded
from projections.state import State
from tests.eventapi.harness import JournalHarness, Storage, open_harness

ANN = registered(1, "ann")
TWO_ITEMS = (ANN, created(1, 1), created(2, 1))
CONTENT = Content("new")
DELETED = ("items/1", ItemDeleted())


def up_to(items: int) -> Quota:
    return Quota(items=items)


def test_user_cannot_create_more_items_than_the_quota() -> None:
    event = ItemCreated(1, personal=CONTENT)
    given(*TWO_ITEMS).when(create_item(1, CONTENT, up_to(3))).then("items/3", event)
    given(*TWO_ITEMS).when(create_item(1, CONTENT, up_to(2))).refused(QuotaExceeded)


def test_deletion_makes_room_for_another_item() -> None:
    event = ItemCreated(1, personal=CONTENT)
    given(*TWO_ITEMS, DELETED).when(create_item(1, CONTENT, up_to(2))).then("items/3", event)


def test_items_of_others_do_not_count() -> None:
    bob = registered(2, "bob")
    event = ItemCreated(2, personal=CONTENT)
    given(bob, *TWO_ITEMS).when(create_item(2, CONTENT, up_to(1))).then("items/3", event)


def test_restoration_needs_room_in_the_quota() -> None:
    restore = restore_item(1, 1, 2, CONTENT, quota=up_to(1))
    given(*TWO_ITEMS, DELETED).when(restore).refused(QuotaExceeded)
    restore = restore_item(1, 1, 2, CONTENT, quota=up_to(2))
    given(*TWO_ITEMS, DELETED).when(restore).then("items/1", ItemRestored(2, personal=CONTENT))


def test_full_quota_allows_changes_of_existing_items() -> None:
    changed = ItemUpdated(personal=ContentChanges(title="new"))
    given(*TWO_ITEMS).when(update_item(1, 1, "new", quota=up_to(1))).then("items/1", changed)
    restore = restore_item(1, 1, 2, CONTENT, quota=up_to(1))
    given(*TWO_ITEMS).when(restore).then("items/1", ItemRestored(2, personal=CONTENT))
    given(*TWO_ITEMS).when(delete_item(1, 1)).then("items/1", ItemDeleted())


def test_import_has_no_quota() -> None:
    story = given(*TWO_ITEMS)
    command = import_item("ann", CONTENT, at(0), 7, 0, "operator/root")
    story.when(command).then("items/7", ItemCreated(1, created_at=at(0), personal=CONTENT))
    assert not hasattr(command, "quota")


BYTES = Quota(log_bytes=1000)


def with_bytes(count: int) -> State:
    state = given(*TWO_ITEMS).state
    state.resources.log_bytes.add(1, count)
    return state


@pytest.mark.parametrize(
    "command",
    [
        create_item(1, CONTENT, BYTES),
        update_item(1, 1, "new", quota=BYTES),
        restore_item(1, 1, 2, CONTENT, quota=BYTES),
    ],
    ids=lambda command: type(command).__name__,
)
def test_user_without_bytes_left_cannot_write(command: Command) -> None:
    command.decide(with_bytes(999))
    with pytest.raises(QuotaExceeded):
        command.decide(with_bytes(1000))


def test_without_a_quota_nothing_is_refused() -> None:
    create_item(1, CONTENT).decide(with_bytes(1 << 60))
    create_item(1, CONTENT, Quota()).decide(with_bytes(1 << 60))


async def test_quota_counts_the_bytes_of_the_lines(storage: Storage) -> None:
    """Also those of items that are deleted, but not the deletions; and nothing of the erased."""
    async with open_harness(storage) as harness:
        for name in ("ann", "bob"):
            await harness.register(name)
        for command in (
            create_item(1, CONTENT),
            create_item(2, CONTENT),
            update_item(1, 1, description="x" * 5000),
            delete_item(1, 1),
            restore_item(1, 1, 5, Content("restored")),
        ):
            await harness.journal.execute(command)
        lines = await storage.lines()
        counted = (await harness.state()).resources.log_bytes
        assert counted.of(1) == sum(len(lines[at]) + 1 for at in (2, 4, 6))
        assert counted.of(2) == len(lines[3]) + 1
        await harness.journal.execute(EraseUser("ann", "operator/root"))
        assert set(counted.by_owner) == {2}
        sums = await harness.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def together(harness: JournalHarness, commands: list[Command]) -> list[bool]:
    """Execute commands as one batch; whether each was written."""
    answers = await asyncio.gather(*map(harness.journal.execute, commands), return_exceptions=True)
    assert all(isinstance(answer, CommandResult | QuotaExceeded) for answer in answers)
    return [isinstance(answer, CommandResult) for answer in answers]


async def test_concurrent_requests_do_not_exceed_a_quota(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        create = create_item(1, CONTENT, up_to(3))
        assert await together(harness, [create] * 5) == [True] * 3 + [False] * 2
        mixed: list[Command] = [
            create,
            delete_item(1, 1),
            create,
            delete_item(1, 2),
            create,
            create,
        ]
        assert await together(harness, mixed) == [False, True, True, True, True, False]
        assert len((await harness.state())["items"].by_owner[1]) == 3


async def test_only_the_last_line_may_exceed_the_bytes(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        create = create_item(1, Content("a title", "x" * 1000), Quota(log_bytes=4000))
        written = await together(harness, [create] * 9)
        used = (await harness.state()).resources.log_bytes.of(1)
        assert written == [True] * written.count(True) + [False] * written.count(False)
        assert used - used // written.count(True) < 4000 <= used
