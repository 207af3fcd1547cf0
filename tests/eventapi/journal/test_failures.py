"""A failed write fails completely: no acknowledgement, no change, and the next write works."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.commands.command import Command
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.journal.config import JournalConfig
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
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
from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.journal.checks import (
    failed_write_leaves_memory_unchanged,
    key_is_stored_before_its_first_line,
    key_of_failed_registration_does_not_affect_other_journals,
    registered_names,
    write_is_invisible_until_durable,
)


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (StorageFull("full"), StorageFull),
        (LogUnavailable("gone"), LogUnavailable),
        (LogFenced("fenced"), LogFenced),
        (OSError("an unforeseen error"), LogUnavailable),
    ],
    ids=repr,
)
async def test_failed_append_leaves_memory_unchanged(
    storage: Storage, error: Exception, reported: type[EventapiError]
) -> None:
    await failed_write_leaves_memory_unchanged(storage, error, reported)


@pytest.mark.parametrize(
    ("error", "reported"),
    [(VaultUnavailable("gone"), VaultUnavailable), (OSError("what else"), LogUnavailable)],
    ids=repr,
)
async def test_failed_vault_leaves_memory_unchanged(
    storage: Storage, error: Exception, reported: type[EventapiError]
) -> None:
    await failed_write_leaves_memory_unchanged(storage, error, reported, vault=True)


async def test_write_is_invisible_until_durable(storage: Storage) -> None:
    await write_is_invisible_until_durable(storage)


async def test_key_is_stored_before_its_first_line(storage: Storage) -> None:
    await key_is_stored_before_its_first_line(storage)


async def test_no_line_is_written_without_its_stored_key(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        harness.vault.error = VaultUnavailable("gone")
        with pytest.raises(VaultUnavailable):
            await harness.register("ann")
        assert harness.trace == ["put"]
    assert await storage.lines() == []


async def test_fenced_log_calls_on_fence(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        harness.log.error = StorageFull("full")
        with pytest.raises(StorageFull):
            await harness.register("ann")
        assert harness.fenced == []
        harness.log.error = LogFenced("a sync failed")
        with pytest.raises(LogFenced):
            await harness.register("ann")
        assert harness.fenced == [True]


async def test_refusal_based_on_a_failed_write_is_not_reported(storage: Storage) -> None:
    """The name was never taken, so no caller may get that answer."""
    async with open_harness(storage) as harness:
        harness.log.error = StorageFull("full")
        answers = await asyncio.gather(
            harness.register("ann"), harness.register("ann"), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageFull, StorageFull]
        assert await registered_names(harness) == set()


async def test_key_of_failed_registration_does_not_affect_later_start(storage: Storage) -> None:
    """It stays in the vault, and a later start must not use it for the next user."""
    async with open_harness(storage) as one:
        await one.register("ann")
        one.log.error = StorageFull("full")
        with pytest.raises(StorageFull):
            await one.register("bob")
        one.log.error = None
        async with open_harness(storage) as late:
            await one.register("eve")
            assert await registered_names(late) == {"ann", "eve"}
            await late.register("dan")
        assert await registered_names(one) == {"ann", "eve", "dan"}


async def test_key_of_failed_registration_does_not_affect_other_journals(storage: Storage) -> None:
    await key_of_failed_registration_does_not_affect_other_journals(storage)


async def test_key_of_refused_write_is_not_stored(storage: Storage) -> None:
    """The write registers bob and is then refused; the other writes of its batch succeed."""
    async with open_harness(storage) as one, open_harness(storage) as other:
        twice: list[Command] = [RegisterUser(profile("bob"))] * 2
        ann, refusal = await asyncio.gather(
            one.register("ann"), one.journal.execute_all(twice), return_exceptions=True
        )
        assert isinstance(ann, CommandResult)
        assert isinstance(refusal, UsernameTaken)
        assert set(await storage.keys()) == {"users/1"}
        await other.register("eve")
        assert await registered_names(one) == {"ann", "eve"}


async def test_key_of_registration_too_long_for_a_line_is_not_stored(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        long = RegisterUser(profile("bob", password_hash="x" * 70_000))
        ann, refusal = await asyncio.gather(
            one.register("ann"), one.journal.execute(long), return_exceptions=True
        )
        assert isinstance(ann, CommandResult)
        assert isinstance(refusal, Invalid)
        assert set(await storage.keys()) == {"users/1"}
        await other.register("eve")
        assert await registered_names(one) == {"ann", "eve"}


async def test_registration_with_items_succeeds_after_a_failed_write(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        wish: list[Command] = [RegisterUser(profile("ann")), create_item(1, Content("one"))]
        harness.log.error = LogUnavailable("gone")
        with pytest.raises(LogUnavailable):
            await harness.journal.execute_all(wish)
        harness.log.error = None
        outcomes = await harness.journal.execute_all(wish)
        assert [outcome.record.subject for outcome in outcomes] == ["users/1", "items/1"]
        sums = await harness.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def test_catch_up_is_retried_after_the_vault_failed(storage: Storage) -> None:
    """The state stays a complete prefix of the log, and no record is applied twice."""
    async with open_harness(storage) as one, open_harness(storage) as other:
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


async def test_lock_timeout_fails_only_the_write(tmp_path: Path) -> None:
    storage = Storage("jsonl", tmp_path)
    impatient = JournalConfig(lock_timeout=0.05)
    async with open_harness(storage) as one, open_harness(storage, limits=impatient) as other:
        one.log.hold()
        slow = asyncio.create_task(one.register("ann"))
        await one.log.wait_until_held()
        with pytest.raises(LogUnavailable):
            await other.register("bob")
        one.log.release()
        await slow
        assert (await other.register("bob")).record.subject == "users/2"


async def test_lock_timeout_fails_all_queued_writes_at_once(
    tmp_path: Path,
) -> None:
    """Even if they would make several batches: all fail at the same time."""
    storage = Storage("jsonl", tmp_path)
    impatient = JournalConfig(batch=1, lock_timeout=0.05)
    async with open_harness(storage) as one, open_harness(storage, limits=impatient) as other:
        one.log.hold()
        slow = asyncio.create_task(one.register("ann"))
        await one.log.wait_until_held()
        writes = [asyncio.create_task(other.register(f"user{number}")) for number in range(3)]
        done, _ = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        one.log.release()
        assert done == set(writes)
        assert {type(write.exception()) for write in writes} == {LogUnavailable}
        await slow


async def test_cancelled_journal_answers_all_waiters(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        harness.log.hold()
        under_way = asyncio.create_task(harness.register("ann"))
        await harness.log.wait_until_held()
        queued = asyncio.create_task(harness.register("bob"))
        await asyncio.sleep(0)
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "journal")
        task.cancel()
        answers = await asyncio.wait_for(
            asyncio.gather(under_way, queued, return_exceptions=True), 5
        )
        assert [type(answer) for answer in answers] == [LogUnavailable, LogUnavailable]
        with pytest.raises(LogUnavailable):
            await harness.register("eve")


async def test_log_with_another_mark_is_not_written(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        state = await harness.state()
        state.last = type(state.last)(1, "", "", "", "", state.last.event, hash=b"x" * 32)
        with pytest.raises(DamagedLog):
            await harness.register("bob")
        assert harness.log.batches == [1]
