"""What fails, fails whole: nothing is told, nothing is kept, and the next write works."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from eventapi.commands.command import Command
from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.journal.config import JournalConfig
from eventapi.testing.given import profile
from events.errors import (
    DamagedLog,
    EventapiError,
    Invalid,
    LogFenced,
    LogUnavailable,
    StorageFull,
    UsernameTaken,
    VaultUnavailable,
)
from events.vocabulary.items import Content
from tests.eventapi.harness import Kind, Storage, opened
from tests.eventapi.journal.checks import (
    a_failed_write_leaves_memory_as_it_was,
    a_key_is_kept_before_its_first_line,
    nobody_sees_a_write_before_it_is_durable,
    registered_names,
    the_key_of_a_failed_registration_disturbs_no_other_journal,
)


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StorageFull("full"), StorageFull),
        (LogUnavailable("gone"), LogUnavailable),
        (LogFenced("fenced"), LogFenced),
        (OSError("what nobody thought of"), LogUnavailable),
    ],
    ids=repr,
)
def test_a_failed_append_leaves_memory_as_it_was(
    storage: Storage, error: Exception, told: type[EventapiError]
) -> None:
    asyncio.run(a_failed_write_leaves_memory_as_it_was(storage, error, told))


@pytest.mark.parametrize(
    ("error", "told"),
    [(VaultUnavailable("gone"), VaultUnavailable), (OSError("what else"), LogUnavailable)],
    ids=repr,
)
def test_a_failed_vault_leaves_memory_as_it_was(
    storage: Storage, error: Exception, told: type[EventapiError]
) -> None:
    asyncio.run(a_failed_write_leaves_memory_as_it_was(storage, error, told, vault=True))


def test_nobody_sees_a_write_before_it_is_durable(storage: Storage) -> None:
    asyncio.run(nobody_sees_a_write_before_it_is_durable(storage))


def test_a_key_is_kept_before_its_first_line(storage: Storage) -> None:
    asyncio.run(a_key_is_kept_before_its_first_line(storage))


def test_no_line_is_written_whose_key_was_not_kept(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            house.vault.error = VaultUnavailable("gone")
            with pytest.raises(VaultUnavailable):
                await house.register("ann")
            assert house.trace == ["put"]
        assert await storage.lines() == []

    asyncio.run(run())


def test_a_fenced_log_is_told_to_whoever_can_end_the_process(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            house.log.error = StorageFull("full")
            with pytest.raises(StorageFull):
                await house.register("ann")
            assert house.fenced == []
            house.log.error = LogFenced("a sync failed")
            with pytest.raises(LogFenced):
                await house.register("ann")
            assert house.fenced == [True]

    asyncio.run(run())


def test_a_refusal_that_rests_on_a_write_that_failed_is_not_told(storage: Storage) -> None:
    """The name was never taken, so nobody may hear that it is."""

    async def run() -> None:
        async with opened(storage) as house:
            house.log.error = StorageFull("full")
            answers = await asyncio.gather(
                house.register("ann"), house.register("ann"), return_exceptions=True
            )
            assert [type(answer) for answer in answers] == [StorageFull, StorageFull]
            assert await registered_names(house) == set()

    asyncio.run(run())


def test_the_key_of_a_failed_registration_disturbs_no_later_start(storage: Storage) -> None:
    """It stays in the vault, and whoever opens then must not take it for that of the next user."""

    async def run() -> None:
        async with opened(storage) as one:
            await one.register("ann")
            one.log.error = StorageFull("full")
            with pytest.raises(StorageFull):
                await one.register("bob")
            one.log.error = None
            async with opened(storage) as late:
                await one.register("eve")
                assert await registered_names(late) == {"ann", "eve"}
                await late.register("dan")
            assert await registered_names(one) == {"ann", "eve", "dan"}

    asyncio.run(run())


def test_the_key_of_a_failed_registration_disturbs_no_other_journal(storage: Storage) -> None:
    asyncio.run(the_key_of_a_failed_registration_disturbs_no_other_journal(storage))


def test_the_key_of_a_refused_wish_is_not_kept(storage: Storage) -> None:
    """The wish registers bob, then is refused; others of its batch are written all the same."""

    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            twice: list[Command] = [RegisterUser(profile("bob"))] * 2
            ann, refusal = await asyncio.gather(
                one.register("ann"), one.journal.execute_all(twice), return_exceptions=True
            )
            assert isinstance(ann, CommandResult)
            assert isinstance(refusal, UsernameTaken)
            assert set(await storage.keys()) == {"users/1"}
            await other.register("eve")
            assert await registered_names(one) == {"ann", "eve"}

    asyncio.run(run())


def test_the_key_of_a_registration_that_fits_no_line_is_not_kept(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            long = RegisterUser(profile("bob", password_hash="x" * 70_000))
            ann, refusal = await asyncio.gather(
                one.register("ann"), one.journal.execute(long), return_exceptions=True
            )
            assert isinstance(ann, CommandResult)
            assert isinstance(refusal, Invalid)
            assert set(await storage.keys()) == {"users/1"}
            await other.register("eve")
            assert await registered_names(one) == {"ann", "eve"}

    asyncio.run(run())


def test_a_wish_that_registers_and_writes_survives_a_failure_before(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            wish: list[Command] = [RegisterUser(profile("ann")), CreateItem(1, Content("one"))]
            house.log.error = LogUnavailable("gone")
            with pytest.raises(LogUnavailable):
                await house.journal.execute_all(wish)
            house.log.error = None
            outcomes = await house.journal.execute_all(wish)
            assert [outcome.record.subject for outcome in outcomes] == ["users/1", "items/1"]
            sums = await house.sums()
        async with opened(storage) as again:
            assert await again.sums() == sums

    asyncio.run(run())


def test_a_vault_that_fails_while_catching_up_is_asked_again(storage: Storage) -> None:
    """What was folded before stays a whole prefix, and nothing is folded twice."""

    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            await other.state()
            for name in ("bob", "eve"):
                await one.register(name)
            other.vault.error = VaultUnavailable("gone")
            with pytest.raises(VaultUnavailable):
                await other.state()
            with pytest.raises(VaultUnavailable):
                await other.register("dan")
            other.vault.error = None
            assert await registered_names(other) == {"ann", "bob", "eve"}
            assert (await other.register("dan")).record.subject == "users/4"
            assert await one.sums() == await other.sums()

    asyncio.run(run())


def test_a_lock_that_does_not_come_in_time_fails_the_write_only(tmp_path: Path) -> None:
    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        impatient = JournalConfig(lock_timeout=0.05)
        async with opened(storage) as one, opened(storage, limits=impatient) as other:
            one.log.hold()
            slow = asyncio.create_task(one.register("ann"))
            await one.log.held()
            with pytest.raises(LogUnavailable):
                await other.register("bob")
            one.log.let_go()
            await slow
            assert (await other.register("bob")).record.subject == "users/2"

    asyncio.run(run())


def test_a_lock_that_does_not_come_is_waited_for_once_by_all_who_are_there(tmp_path: Path) -> None:
    """However many batches they would be: the last is told together with the first."""

    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        impatient = JournalConfig(batch=1, lock_timeout=0.05)
        async with opened(storage) as one, opened(storage, limits=impatient) as other:
            one.log.hold()
            slow = asyncio.create_task(one.register("ann"))
            await one.log.held()
            writes = [asyncio.create_task(other.register(f"user{number}")) for number in range(3)]
            done, _ = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            one.log.let_go()
            assert done == set(writes)
            assert {type(write.exception()) for write in writes} == {LogUnavailable}
            await slow

    asyncio.run(run())


def test_a_journal_that_is_killed_leaves_nobody_waiting(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            house.log.hold()
            under_way = asyncio.create_task(house.register("ann"))
            await house.log.held()
            queued = asyncio.create_task(house.register("bob"))
            await asyncio.sleep(0)
            (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "journal")
            task.cancel()
            answers = await asyncio.wait_for(
                asyncio.gather(under_way, queued, return_exceptions=True), 5
            )
            assert [type(answer) for answer in answers] == [LogUnavailable, LogUnavailable]
            with pytest.raises(LogUnavailable):
                await house.register("eve")

    asyncio.run(run())


def test_a_log_under_another_mark_is_not_written_to(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            state = await house.state()
            state.last = type(state.last)(1, "", "", "", "", state.last.event, hash=b"x" * 32)
            with pytest.raises(DamagedLog):
                await house.register("bob")
            assert house.log.batches == [1]

    asyncio.run(run())
