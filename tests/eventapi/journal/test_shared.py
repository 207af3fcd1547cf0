"""Several journals over one log, and what a start finds and mends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from eventapi.commands.command import Decision
from eventapi.journal.batch import CommandResult
from eventapi.testing.items import Content, create_item
from events.errors import DamagedLog, EventapiError, UsernameTaken, VaultUnavailable
from events.log.port import Appender, Head
from events.vocabulary.users import UserErased
from projections.state import State
from tests.eventapi.harness import ControlledLog, JournalHarness, Storage, delete_key, open_harness
from tests.eventapi.journal.checks import (
    acknowledged_write_is_seen_by_every_journal,
    concurrent_writers_never_collide,
    registered_names,
)


class Erase:
    """Erase a user without any check."""

    def __init__(self, user: int) -> None:
        self._user = user

    def decide(self, _: State) -> Decision:
        return Decision(f"users/{self._user}", UserErased(), "operator/test")


async def test_acknowledged_write_is_seen_by_every_journal(storage: Storage) -> None:
    await acknowledged_write_is_seen_by_every_journal(storage)


async def test_concurrent_writers_never_collide(storage: Storage) -> None:
    await concurrent_writers_never_collide(storage)


async def test_one_of_two_journals_registers_a_name(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        for name in ("ann", "bob", "eve"):
            answers = await asyncio.gather(
                one.register(name), other.register(name), return_exceptions=True
            )
            assert sorted(type(answer).__name__ for answer in answers) == [
                CommandResult.__name__,
                UsernameTaken.__name__,
            ]
        assert await one.sums() == await other.sums()


async def test_decision_uses_what_the_other_journal_wrote(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        assert (await other.create(1)).record.actor == "users/1"
        await one.journal.execute(Erase(1))
        with pytest.raises(EventapiError):
            await other.create(1)


async def test_journal_far_behind_catches_up_before_it_locks(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.journal.journal.CATCH_UP_FIRST_EVENTS", 5)
    behind: list[int] = []

    async def run() -> None:
        async with open_harness(storage) as one, open_harness(storage) as other:
            exclusive = other.log.exclusive

            @asynccontextmanager
            async def noting(timeout: float) -> AsyncIterator[Appender]:
                behind.append(other.log.position - other.journal.position)
                async with exclusive(timeout) as appender:
                    yield appender

            monkeypatch.setattr(other.log, "exclusive", noting)
            await one.register("ann")
            for items in (4, 10):
                for _ in range(items):
                    await one.create(1)
                await other.create(1)

    await run()
    assert behind == [5, 0]


async def test_slow_write_does_not_block_readers(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        one.log.hold()
        slow = asyncio.create_task(one.register("bob"))
        await one.log.wait_until_held()
        for harness in (one, other):
            state = await asyncio.wait_for(harness.journal.state(), 10)
            assert state.position == 1
        one.log.release()
        await slow


async def test_concurrent_reads_fold_every_record_once(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        for number in range(5):
            await one.register(f"user{number}")
        states = await asyncio.gather(*(other.journal.state() for _ in range(20)))
        assert {state.position for state in states} == {5}
        assert await one.sums() == await other.sums()


async def test_every_line_has_the_source_of_the_first(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        await other.register("bob")
    async with open_harness(storage) as again:
        await again.register("eve")
    sources = [json.loads(line)["source"] for line in await storage.lines()]
    assert len(sources) == 3
    assert len(set(sources)) == 1


async def test_restart_restores_the_same_state(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1)
        sums = await harness.sums()
    for _ in range(2):
        async with open_harness(storage) as harness:
            assert await harness.sums() == sums


async def test_a_start_refuses_a_vault_without_the_keys(storage: Storage) -> None:
    """It would serve users whose data it cannot read, and seal new data under new keys."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("bob")
        await delete_key(harness, "users/1")
    lines = await storage.lines()
    with pytest.raises(VaultUnavailable, match=r"1 user has no key \(users/1\)"):
        async with open_harness(storage):
            pass
    assert await storage.lines() == lines


async def test_a_start_refuses_a_vault_with_other_keys(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.vault.put({"users/1": bytes(range(32))})
    with pytest.raises(DamagedLog):
        async with open_harness(storage):
            pass


async def test_start_refuses_a_log_with_another_head(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that fold well and another hash at the head are two different logs."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
    monkeypatch.setattr(ControlledLog, "false_head", Head(1, b"x" * 32))
    with pytest.raises(DamagedLog):
        async with open_harness(storage):
            pass


async def test_start_finishes_an_erasure_that_a_crash_interrupted(storage: Storage) -> None:
    """The event is in the log, and the key was still in the vault when the process died."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("bob")
        await harness.create(1)
        keys = await storage.keys()
        await harness.journal.execute(Erase(1))
        await harness.vault.put(keys)
        sums = await harness.sums()
    async with open_harness(storage) as harness:
        assert set(await storage.keys()) == {"users/2"}
        assert await harness.sums() == sums
        assert await registered_names(harness) == {"bob"}


async def test_restart_after_an_erasure_restores_the_live_state(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("bob")
        await harness.create(1)
        await harness.create(2)
        await harness.journal.execute(Erase(1))
        await harness.register("ann")
        await harness.vault.destroy(["users/1"])
        sums = await harness.sums()
    async with open_harness(storage) as harness:
        assert await harness.sums() == sums
        ann = (await harness.state()).users.find_by_username("ann")
        assert ann is not None
        assert ann.id == 3


async def test_erased_user_is_never_seen_partly(storage: Storage) -> None:
    """A reader that finds the key destroyed during the catch-up also applies the erasure."""
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        await erased_while_read(one, other)
        state = await other.state()
        assert state.users.by_id[1].status == "erased"
        assert await one.sums() == await other.sums()


async def erased_while_read(writer: JournalHarness, reader: JournalHarness) -> None:
    """Let a reader fetch the lines, then erase the user before it fetches the key."""
    real_get = reader.vault.get

    async def late_get(subjects: Iterable[str]) -> dict[str, bytes]:
        await writer.journal.execute(Erase(1))
        await writer.vault.destroy(["users/1"])
        reader.vault.get = real_get  # type: ignore[method-assign]
        return await real_get(list(subjects))

    reader.vault.get = late_get  # type: ignore[method-assign]


async def test_erased_user_gets_no_items_later_in_the_batch(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1)
        erased, refusal = await asyncio.gather(
            harness.journal.execute(Erase(1)), harness.create(1), return_exceptions=True
        )
        assert isinstance(erased, CommandResult)
        assert isinstance(refusal, EventapiError)
        assert not (await harness.state())["items"].by_id


async def test_erased_user_gets_no_items_later_in_the_write(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        with pytest.raises(EventapiError):
            await harness.journal.execute_all([Erase(1), create_item(1, Content("late"))])
        assert (await harness.state()).position == 1


async def test_start_on_an_empty_log_reports_no_progress(storage: Storage) -> None:
    harness = JournalHarness(storage)
    seen: list[int] = []
    await harness.journal.start(seen.append)
    assert (await harness.state()).position == 0
    assert seen == []
    await harness.journal.close()
    await harness.log.close()
    await harness.vault.close()
