"""Writing through the journal: batches, answers, order and limits, on every adapter."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import msgspec
import pytest

from eventapi.commands.command import Command, Decision
from eventapi.commands.items import CreateItem, DeleteItem, UpdateItem
from eventapi.commands.sessions import EndSession, Lifetime, StartSession
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.journal.config import JournalConfig
from eventapi.testing.given import at, profile
from events.errors import (
    Invalid,
    LogUnavailable,
    NotFound,
    Overloaded,
    Unauthenticated,
    UsernameTaken,
)
from events.vocabulary.items import Content
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.items import Item
from projections.tables.users import User
from tests.eventapi.harness import Kind, Storage, opened


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


def test_one_command_is_one_event_and_one_line(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            ann = await house.register("ann")
            item = await house.create(1)
            assert (ann.record.position, item.record.position) == (1, 2)
            assert house.log.batches == [1, 1]
            assert (await house.state()).position == 2
        types = [json.loads(line)["type"] for line in await storage.lines()]
        assert types == ["user.registered", "item.created"]

    asyncio.run(run())


def test_the_request_id_is_on_the_line(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            outcome = await house.journal.execute(RegisterUser(profile("ann")), "request-7")
        assert outcome.record.requestid == "request-7"
        assert json.loads((await storage.lines())[0])["requestid"] == "request-7"

    asyncio.run(run())


def test_concurrent_commands_share_appends(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            outcomes = await asyncio.gather(*(house.create(1) for _ in range(100)))
            assert len(house.log.batches) < 10
            assert sum(house.log.batches) == 101
            positions = [outcome.record.position for outcome in outcomes]
            assert positions == list(range(2, 102))

    asyncio.run(run())


def test_what_comes_while_others_hold_the_log_shares_the_append(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            async with house.log.exclusive(1):
                first = asyncio.create_task(house.create(1))
                await asyncio.sleep(0.02)
                second = asyncio.create_task(house.create(1))
                await asyncio.sleep(0)
            await asyncio.gather(first, second)
            assert house.log.batches == [1, 2]

    asyncio.run(run())


def test_a_batch_is_no_larger_than_its_limit(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage, limits=JournalConfig(batch=7)) as house:
            await asyncio.gather(*(house.register(f"user{number}") for number in range(30)))
            assert max(house.log.batches) <= 7
            assert sum(house.log.batches) == 30

    asyncio.run(run())


def test_of_two_registrations_of_one_name_in_one_batch_the_first_wins(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            wishes = [
                RegisterUser(profile(name, email=f"{name}@{name}.example"))
                for name in ("ann", "ANN")
            ]
            first, second = await asyncio.gather(
                *(house.journal.execute(wish) for wish in wishes), return_exceptions=True
            )
            assert isinstance(first, CommandResult)
            assert isinstance(second, UsernameTaken)
            assert house.log.batches == [1]

    asyncio.run(run())


def test_later_commands_of_a_batch_see_the_earlier_ones(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            ann, item = await asyncio.gather(house.register("ann"), house.create(1))
            assert house.log.batches == [2]
            assert cast("User", ann.entity).id == cast("Item", item.entity).owner

    asyncio.run(run())


def test_an_outcome_is_the_entity_right_after_its_own_event(storage: Storage) -> None:
    """Even where a later command of the same batch has changed it since."""

    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            wishes: list[Command] = [
                CreateItem(1, Content("one")),
                UpdateItem(1, 1, title="two"),
                DeleteItem(1, 1),
            ]
            made, changed, deleted = await asyncio.gather(*map(house.journal.execute, wishes))
            assert house.log.batches == [1, 3]
            assert (cast("Item", made.entity).title, cast("Item", made.entity).version) == (
                "one",
                2,
            )
            assert cast("Item", changed.entity).title == "two"
            assert deleted.entity is None

    asyncio.run(run())


def test_a_refused_command_writes_nothing(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            before = await house.sums()
            with pytest.raises(UsernameTaken):
                await house.register("ann")
            assert await house.sums() == before
            assert house.log.batches == [1]
        assert len(await storage.lines()) == 1

    asyncio.run(run())


def test_commands_that_stand_or_fall_together_are_one_append(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            wishes = [RegisterUser(profile(name)) for name in ("ann", "bob", "eve")]
            outcomes = await house.journal.execute_all(wishes)
            assert [outcome.record.position for outcome in outcomes] == [1, 2, 3]
            assert house.log.batches == [3]
            assert (await house.state()).last == outcomes[-1].record
        remaining = [json.loads(line).get("remaining") for line in await storage.lines()]
        assert remaining == ["2", "1", None]
        behind = [json.loads(line).get("behind") for line in await storage.lines()]
        assert behind == [None, "0", "0"]

    asyncio.run(run())


def test_a_refusal_in_the_middle_undoes_the_wish_and_nobody_elses(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            wish = [
                RegisterUser(profile("bob")),
                RegisterUser(profile("BOB")),
                RegisterUser(profile("eve")),
            ]
            ann, refusal, dan = await asyncio.gather(
                house.register("ann"),
                house.journal.execute_all(wish),
                house.register("dan"),
                return_exceptions=True,
            )
            assert isinstance(refusal, UsernameTaken)
            assert isinstance(ann, CommandResult)
            assert isinstance(dan, CommandResult)
            assert (ann.record.subject, dan.record.subject) == ("users/1", "users/2")
            assert house.log.batches == [2]
            assert set((await house.state()).users.ids_by_name) == {"ann", "dan"}
        assert set(await storage.keys()) == {"users/1", "users/2"}

    asyncio.run(run())


def test_a_wish_sees_its_own_earlier_commands(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            wish: list[Command] = [
                RegisterUser(profile("ann")),
                CreateItem(1, Content("one")),
                DeleteItem(1, 1),
            ]
            assert len(await house.journal.execute_all(wish)) == 3
            with pytest.raises(NotFound):
                await house.journal.execute_all([CreateItem(1, Content("two")), DeleteItem(1, 1)])

    asyncio.run(run())


def test_a_wish_for_nothing_is_granted_at_once(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            assert await asyncio.wait_for(house.journal.execute_all([]), 5) == []
            assert house.log.batches == []

    asyncio.run(run())


def test_time_never_goes_backwards(storage: Storage) -> None:
    """Not when the clock does, and not after a restart either."""
    clock = iter([at(50), at(40), at(60), at(10), at(61)])

    async def run() -> None:
        async with opened(storage, now=clock.__next__) as house:
            for name in ("ann", "bob", "eve"):
                await house.register(name)
        async with opened(storage, now=clock.__next__) as house:
            for name in ("dan", "fay"):
                await house.register(name)
        times = [json.loads(line)["time"] for line in await storage.lines()]
        assert times == [at(50), at(50), at(60), at(60), at(61)]

    asyncio.run(run())


def test_a_full_queue_turns_writes_away_and_reads_go_on(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage, limits=JournalConfig(batch=2, queue=3)) as house:
            house.log.hold()
            under_way = [asyncio.create_task(house.register(f"user{i}")) for i in range(2)]
            await house.log.held()
            queued = [asyncio.create_task(house.register(f"later{i}")) for i in range(3)]
            await asyncio.sleep(0)
            assert house.journal.queued == 3
            with pytest.raises(Overloaded):
                await house.register("one.too.many")
            assert (await house.state()).position == 0
            house.log.let_go()
            await asyncio.gather(*under_way, *queued)
            await house.register("room.again")

    asyncio.run(run())


def test_close_writes_and_answers_what_is_queued_and_under_way(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage, limits=JournalConfig(batch=2)) as house:
            house.log.hold()
            writes = [asyncio.create_task(house.register(f"user{i}")) for i in range(5)]
            await house.log.held()
            closing = asyncio.create_task(house.journal.close())
            await asyncio.sleep(0)
            house.log.let_go()
            await asyncio.wait_for(closing, 5)
            assert all(write.done() for write in writes)
            assert [(await write).record.position for write in writes] == [1, 2, 3, 4, 5]
        assert len(await storage.lines()) == 5

    asyncio.run(run())


def test_a_closed_journal_writes_no_more_but_still_reads(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            await house.register("ann")
            await house.journal.close()
            with pytest.raises(LogUnavailable):
                await asyncio.wait_for(house.register("bob"), 5)
            assert (await house.state()).position == 1
            await house.journal.close()

    asyncio.run(run())


def test_a_close_that_is_given_up_does_not_cut_off_a_write(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            house.log.hold()
            write = asyncio.create_task(house.register("ann"))
            await house.log.held()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(house.journal.close(), 0.01)
            house.log.let_go()
            assert (await write).record.position == 1

    asyncio.run(run())


def test_a_waiter_that_leaves_does_not_disturb_the_others(storage: Storage) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            house.log.hold()
            writes = [asyncio.create_task(house.register(f"user{i}")) for i in range(3)]
            await house.log.held()
            writes[1].cancel()
            late = asyncio.create_task(house.register("late"))
            await asyncio.sleep(0)
            late.cancel()
            house.log.let_go()
            first, left, third = await asyncio.gather(*writes, return_exceptions=True)
            assert isinstance(first, CommandResult)
            assert isinstance(left, asyncio.CancelledError)
            assert isinstance(third, CommandResult)
            await house.register("ann")

    asyncio.run(run())


class Broken:
    """A command with a bug in it."""

    def decide(self, state: State) -> Decision:
        raise ZeroDivisionError(state.position)


def test_a_bug_in_one_command_hits_nobody_else(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            ann, bug, bob = await asyncio.gather(
                house.register("ann"),
                house.journal.execute(Broken()),
                house.register("bob"),
                return_exceptions=True,
            )
            assert isinstance(ann, CommandResult)
            assert isinstance(bug, ZeroDivisionError)
            assert isinstance(bob, CommandResult)
        assert "a command could not be decided" in caplog.text

    asyncio.run(run())


@pytest.mark.parametrize("title", ["x" * 70_000, "\ud800"], ids=["too long", "lone surrogate"])
def test_what_fits_no_line_is_refused_and_hits_nobody_else(storage: Storage, title: str) -> None:
    async def run() -> None:
        async with opened(storage) as house:
            ann, refusal, item = await asyncio.gather(
                house.register("ann"),
                house.create(1, title),
                house.create(1),
                return_exceptions=True,
            )
            assert isinstance(ann, CommandResult)
            assert isinstance(refusal, Invalid)
            assert isinstance(item, CommandResult)
            assert item.record.subject == "items/1"

    asyncio.run(run())


def test_an_outcome_is_what_a_replay_reads(storage: Storage) -> None:
    """Position, hash and offset of the record are those of the line on the disk."""

    async def run() -> None:
        async with opened(storage) as house:
            wishes: list[Command] = [RegisterUser(profile("ann")), CreateItem(1, Content("one"))]
            outcomes = await house.journal.execute_all(wishes)
            live = await house.state()
        async with opened(storage) as house:
            replayed = await house.state()
            assert replayed.last == live.last == outcomes[-1].record
            assert msgspec.structs.asdict(replayed.items.by_id[1]) == msgspec.structs.asdict(
                cast("Item", outcomes[1].entity)
            )
            assert await house.sums() == (live.digest(), live.checksum())

    asyncio.run(run())


def test_a_wish_is_refused_once_its_session_has_ended(storage: Storage) -> None:
    """Also where the session was good when the wish came, and in the same batch."""

    async def run() -> None:
        async with opened(storage) as house:
            ann = await house.register("ann")
            assert isinstance(ann.entity, User)
            hashed = ann.entity.password_hash
            login = StartSession(1, hashed, "s", "secret", Lifetime(9_000, 9_000), Device())
            await house.journal.execute(login)
            await house.journal.execute(CreateItem(1, Content("a")), session="s")
            answers = await asyncio.gather(
                house.journal.execute(EndSession(1, "s", "logout")),
                house.journal.execute(CreateItem(1, Content("b")), session="s"),
                return_exceptions=True,
            )
            assert isinstance(answers[0], CommandResult)
            assert isinstance(answers[1], Unauthenticated)
            assert (await house.state()).position == 4

    asyncio.run(run())
