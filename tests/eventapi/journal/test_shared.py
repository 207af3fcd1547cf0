"""Several journals over one log, and what a start finds and mends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from eventapi.commands.command import Decision
from eventapi.commands.items import CreateItem
from eventapi.journal.batch import CommandResult
from events.errors import DamagedLog, EventapiError, UsernameTaken, VaultUnavailable
from events.log.port import Appender, Head
from events.vocabulary.items import Content
from events.vocabulary.users import UserErased
from projections.state import State
from tests.eventapi.harness import JournalHarness, Kind, Storage, WatchedLog, lose_key, opened
from tests.eventapi.journal.checks import (
    concurrent_writers_never_collide,
    registered_names,
    what_is_acknowledged_is_seen_everywhere,
)


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


class Erase:
    """Erase a user, by whatever rule."""

    def __init__(self, user: int) -> None:
        self._user = user

    def decide(self, _: State) -> Decision:
        return Decision(f"users/{self._user}", UserErased(), "operator/test")


def test_what_is_acknowledged_is_seen_everywhere(storage: Storage) -> None:
    asyncio.run(what_is_acknowledged_is_seen_everywhere(storage))


def test_concurrent_writers_never_collide(storage: Storage) -> None:
    asyncio.run(concurrent_writers_never_collide(storage))


def test_of_two_journals_that_register_one_name_one_wins(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            for name in ("ann", "bob", "eve"):
                answers = await asyncio.gather(
                    one.register(name), other.register(name), return_exceptions=True
                )
                assert sorted(type(answer).__name__ for answer in answers) == [
                    CommandResult.__name__,
                    UsernameTaken.__name__,
                ]
            assert await one.sums() == await other.sums()

    asyncio.run(run())


def test_a_decision_rests_on_what_the_other_journal_wrote(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            assert (await other.create(1)).record.actor == "users/1"
            await one.journal.execute(Erase(1))
            with pytest.raises(EventapiError):
                await other.create(1)

    asyncio.run(run())


def test_a_journal_that_is_far_behind_holds_the_lock_for_what_is_new_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.journal.journal.CATCH_UP_FIRST_EVENTS", 5)
    behind: list[int] = []

    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
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

    asyncio.run(run())
    assert behind == [5, 0]


def test_readers_are_not_held_off_by_a_slow_write(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            one.log.hold()
            slow = asyncio.create_task(one.register("bob"))
            await one.log.held()
            for house in (one, other):
                state = await asyncio.wait_for(house.journal.state(), 10)
                assert state.position == 1
            one.log.let_go()
            await slow

    asyncio.run(run())


def test_concurrent_reads_fold_every_record_once(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            for number in range(5):
                await one.register(f"user{number}")
            states = await asyncio.gather(*(other.journal.state() for _ in range(20)))
            assert {state.position for state in states} == {5}
            assert await one.sums() == await other.sums()

    asyncio.run(run())


def test_every_line_has_the_source_of_the_first(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            await other.register("bob")
        async with opened(storage) as again:
            await again.register("eve")
        sources = [json.loads(line)["source"] for line in await storage.lines()]
        assert len(sources) == 3
        assert len(set(sources)) == 1

    asyncio.run(run())


def test_a_restart_comes_to_the_same_state(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.create(1)
            sums = await house.sums()
        for _ in range(2):
            async with opened(storage) as house:
                assert await house.sums() == sums

    asyncio.run(run())


def test_a_start_refuses_a_vault_without_the_keys(storage: Storage) -> None:
    """It would serve users whose data it cannot read, and seal new data under new keys."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.register("bob")
            await lose_key(house, "users/1")
        lines = await storage.lines()
        with pytest.raises(VaultUnavailable, match=r"1 user has no key \(users/1\)"):
            async with opened(storage):
                pass
        assert await storage.lines() == lines

    asyncio.run(run())


def test_a_start_refuses_a_vault_with_other_keys(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.vault.put({"users/1": bytes(range(32))})
        with pytest.raises(DamagedLog):
            async with opened(storage):
                pass

    asyncio.run(run())


def test_a_start_refuses_a_log_that_does_not_end_where_it_says(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that fold well and another hash at the head are two different logs."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
        monkeypatch.setattr(WatchedLog, "false_head", Head(1, b"x" * 32))
        with pytest.raises(DamagedLog):
            async with opened(storage):
                pass

    asyncio.run(run())


def test_a_start_finishes_an_erasure_that_a_crash_cut_short(storage: Storage) -> None:
    """The event is in the log, and the key was still in the vault when the process died."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.register("bob")
            await house.create(1)
            keys = await storage.keys()
            await house.journal.execute(Erase(1))
            await house.vault.put(keys)
            sums = await house.sums()
        async with opened(storage) as house:
            assert set(await storage.keys()) == {"users/2"}
            assert await house.sums() == sums
            assert await registered_names(house) == {"bob"}

    asyncio.run(run())


def test_a_restart_after_an_erasure_comes_to_the_live_state(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.register("bob")
            await house.create(1)
            await house.create(2)
            await house.journal.execute(Erase(1))
            await house.register("ann")
            await house.vault.destroy(["users/1"])
            sums = await house.sums()
        async with opened(storage) as house:
            assert await house.sums() == sums
            ann = (await house.state()).users.find_by_username("ann")
            assert ann is not None
            assert ann.id == 3

    asyncio.run(run())


def test_an_erased_user_is_never_seen_half(storage: Storage) -> None:
    """A reader that finds the key destroyed while it catches up goes on to the erasure."""

    async def run() -> None:
        async with opened(storage) as one, opened(storage) as other:
            await one.register("ann")
            await erased_while_read(one, other)
            state = await other.state()
            assert state.users.by_id[1].status == "erased"
            assert await one.sums() == await other.sums()

    asyncio.run(run())


async def erased_while_read(writer: JournalHarness, reader: JournalHarness) -> None:
    """Let a reader fetch the lines, then erase the user before it fetches the key."""
    real_get = reader.vault.get

    async def late_get(subjects: Iterable[str]) -> dict[str, bytes]:
        await writer.journal.execute(Erase(1))
        await writer.vault.destroy(["users/1"])
        reader.vault.get = real_get  # type: ignore[method-assign]
        return await real_get(list(subjects))

    reader.vault.get = late_get  # type: ignore[method-assign]


def test_nothing_is_made_for_who_is_erased_in_the_same_batch(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.create(1)
            erased, refusal = await asyncio.gather(
                house.journal.execute(Erase(1)), house.create(1), return_exceptions=True
            )
            assert isinstance(erased, CommandResult)
            assert isinstance(refusal, EventapiError)
            assert not (await house.state()).items.by_id

    asyncio.run(run())


def test_nothing_is_made_for_who_is_erased_in_the_same_wish(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            with pytest.raises(EventapiError):
                await house.journal.execute_all([Erase(1), CreateItem(1, Content("late"))])
            assert (await house.state()).position == 1

    asyncio.run(run())


def test_an_empty_house_starts_and_reports_no_progress(storage: Storage) -> None:
    async def run() -> None:
        house = JournalHarness(storage)
        seen: list[int] = []
        await house.journal.start(seen.append)
        assert (await house.state()).position == 0
        assert seen == []
        await house.journal.close()
        await house.log.close()
        await house.vault.close()

    asyncio.run(run())
