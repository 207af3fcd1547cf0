"""Writing through the journal: batches, answers, order and limits, on every adapter."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import msgspec
import pytest

from eventapi.commands.command import Command, Decision
from eventapi.commands.sessions import EndSession, Lifetime, StartSession
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.journal.config import JournalConfig
from eventapi.journal.origin import Origin
from eventapi.testing.given import at, profile
from eventapi.testing.items import Content, create_item, delete_item, update_item
from events.errors import (
    Invalid,
    LogUnavailable,
    NotFound,
    Overloaded,
    StorageFull,
    Unauthenticated,
    UsernameTaken,
)
from events.vocabulary.resources import Entity
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.users import User
from tests.eventapi.harness import Storage, open_harness


async def test_one_command_is_one_event_and_one_line(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        ann = await harness.register("ann")
        item = await harness.create(1)
        assert (ann.record.position, item.record.position) == (1, 2)
        assert harness.log.batches == [1, 1]
        assert (await harness.state()).position == 2
    types = [json.loads(line)["type"] for line in await storage.lines()]
    assert types == ["user.registered", "item.created"]


async def test_the_request_id_is_on_the_line(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        outcome = await harness.journal.execute(RegisterUser(profile("ann")), Origin("request-7"))
    assert outcome.record.requestid == "request-7"
    assert json.loads((await storage.lines())[0])["requestid"] == "request-7"


async def test_concurrent_commands_share_appends(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        outcomes = await asyncio.gather(*(harness.create(1) for _ in range(100)))
        assert len(harness.log.batches) < 10
        assert sum(harness.log.batches) == 101
        positions = [outcome.record.position for outcome in outcomes]
        assert positions == list(range(2, 102))


async def test_commands_that_arrive_while_the_log_is_locked_share_the_append(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        async with harness.log.exclusive(1):
            first = asyncio.create_task(harness.create(1))
            await asyncio.sleep(0.02)
            second = asyncio.create_task(harness.create(1))
            await asyncio.sleep(0)
        await asyncio.gather(first, second)
        assert harness.log.batches == [1, 2]


async def test_a_batch_is_no_larger_than_its_limit(storage: Storage) -> None:
    async with open_harness(storage, limits=JournalConfig(batch=7)) as harness:
        await asyncio.gather(*(harness.register(f"user{number}") for number in range(30)))
        assert max(harness.log.batches) <= 7
        assert sum(harness.log.batches) == 30


async def test_first_of_two_registrations_of_one_name_in_a_batch_wins(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        wishes = [
            RegisterUser(profile(name, email=f"{name}@{name}.example")) for name in ("ann", "ANN")
        ]
        first, second = await asyncio.gather(
            *(harness.journal.execute(wish) for wish in wishes), return_exceptions=True
        )
        assert isinstance(first, CommandResult)
        assert isinstance(second, UsernameTaken)
        assert harness.log.batches == [1]


async def test_later_commands_of_a_batch_see_the_earlier_ones(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        ann, item = await asyncio.gather(harness.register("ann"), harness.create(1))
        assert harness.log.batches == [2]
        assert cast("User", ann.entity).id == cast("Entity", item.entity).owner


async def test_result_has_the_entity_right_after_its_own_event(storage: Storage) -> None:
    """Even where a later command of the same batch has changed it since."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        wishes: list[Command] = [
            create_item(1, Content("one")),
            update_item(1, 1, title="two"),
            delete_item(1, 1),
        ]
        made, changed, deleted = await asyncio.gather(*map(harness.journal.execute, wishes))
        assert harness.log.batches == [1, 3]
        assert (cast("Entity", made.entity).title, cast("Entity", made.entity).version) == (
            "one",
            2,
        )
        assert cast("Entity", changed.entity).title == "two"
        assert deleted.entity is None


async def test_a_refused_command_writes_nothing(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        before = await harness.sums()
        with pytest.raises(UsernameTaken):
            await harness.register("ann")
        assert await harness.sums() == before
        assert harness.log.batches == [1]
    assert len(await storage.lines()) == 1


async def test_commands_of_one_write_are_one_append(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        wishes = [RegisterUser(profile(name)) for name in ("ann", "bob", "eve")]
        outcomes = await harness.journal.execute_all(wishes)
        assert [outcome.record.position for outcome in outcomes] == [1, 2, 3]
        assert harness.log.batches == [3]
        assert (await harness.state()).last == outcomes[-1].record
    remaining = [json.loads(line).get("remaining") for line in await storage.lines()]
    assert remaining == ["2", "1", None]
    behind = [json.loads(line).get("behind") for line in await storage.lines()]
    assert behind == [None, "0", "0"]


async def test_refused_command_undoes_its_own_write_and_no_other(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        wish = [
            RegisterUser(profile("bob")),
            RegisterUser(profile("BOB")),
            RegisterUser(profile("eve")),
        ]
        ann, refusal, dan = await asyncio.gather(
            harness.register("ann"),
            harness.journal.execute_all(wish),
            harness.register("dan"),
            return_exceptions=True,
        )
        assert isinstance(refusal, UsernameTaken)
        assert isinstance(ann, CommandResult)
        assert isinstance(dan, CommandResult)
        assert (ann.record.subject, dan.record.subject) == ("users/1", "users/2")
        assert harness.log.batches == [2]
        assert set((await harness.state()).users.ids_by_name) == {"ann", "dan"}
    assert set(await storage.keys()) == {"users/1", "users/2"}


async def test_write_sees_its_own_earlier_commands(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        wish: list[Command] = [
            RegisterUser(profile("ann")),
            create_item(1, Content("one")),
            delete_item(1, 1),
        ]
        assert len(await harness.journal.execute_all(wish)) == 3
        with pytest.raises(NotFound):
            await harness.journal.execute_all([create_item(1, Content("two")), delete_item(1, 1)])


async def test_write_without_commands_appends_no_lines(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        assert await asyncio.wait_for(harness.journal.execute_all([]), 5) == []
        assert not any(harness.log.batches)


async def test_time_never_goes_backwards(storage: Storage) -> None:
    """Not when the clock does, and not after a restart either."""
    clock = iter([at(50), at(40), at(60), at(10), at(61)])

    async def run() -> None:
        async with open_harness(storage, now=clock.__next__) as harness:
            for name in ("ann", "bob", "eve"):
                await harness.register(name)
        async with open_harness(storage, now=clock.__next__) as harness:
            for name in ("dan", "fay"):
                await harness.register(name)
        times = [json.loads(line)["time"] for line in await storage.lines()]
        assert times == [at(50), at(50), at(60), at(60), at(61)]

    await run()


async def test_full_queue_refuses_writes_but_not_reads(storage: Storage) -> None:
    async with open_harness(storage, limits=JournalConfig(batch=2, queue=3)) as harness:
        harness.log.hold()
        under_way = [asyncio.create_task(harness.register(f"user{i}")) for i in range(2)]
        await harness.log.wait_until_held()
        queued = [asyncio.create_task(harness.register(f"later{i}")) for i in range(3)]
        await asyncio.sleep(0)
        assert harness.journal.queued == 3
        with pytest.raises(Overloaded):
            await harness.register("one.too.many")
        assert (await harness.state()).position == 0
        harness.log.release()
        await asyncio.gather(*under_way, *queued)
        await harness.register("room.again")


async def test_close_writes_and_answers_all_queued_commands(storage: Storage) -> None:
    async with open_harness(storage, limits=JournalConfig(batch=2)) as harness:
        harness.log.hold()
        writes = [asyncio.create_task(harness.register(f"user{i}")) for i in range(5)]
        await harness.log.wait_until_held()
        closing = asyncio.create_task(harness.journal.close())
        await asyncio.sleep(0)
        harness.log.release()
        await asyncio.wait_for(closing, 5)
        assert all(write.done() for write in writes)
        assert [(await write).record.position for write in writes] == [1, 2, 3, 4, 5]
    assert len(await storage.lines()) == 5


async def test_closed_journal_refuses_writes_but_not_reads(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.journal.close()
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(harness.register("bob"), 5)
        assert (await harness.state()).position == 1
        await harness.journal.close()


async def test_cancelled_close_does_not_interrupt_a_write(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        harness.log.hold()
        write = asyncio.create_task(harness.register("ann"))
        await harness.log.wait_until_held()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(harness.journal.close(), 0.01)
        harness.log.release()
        assert (await write).record.position == 1


async def test_cancelled_request_does_not_affect_others(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        harness.log.hold()
        writes = [asyncio.create_task(harness.register(f"user{i}")) for i in range(3)]
        await harness.log.wait_until_held()
        writes[1].cancel()
        late = asyncio.create_task(harness.register("late"))
        await asyncio.sleep(0)
        late.cancel()
        harness.log.release()
        first, left, third = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(first, CommandResult)
        assert isinstance(left, asyncio.CancelledError)
        assert isinstance(third, CommandResult)
        await harness.register("ann")


class Broken:
    """A command with a bug in it."""

    def decide(self, state: State) -> Decision:
        raise ZeroDivisionError(state.position)


async def test_bug_in_one_command_does_not_affect_others(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(storage) as harness:
        ann, bug, bob = await asyncio.gather(
            harness.register("ann"),
            harness.journal.execute(Broken()),
            harness.register("bob"),
            return_exceptions=True,
        )
        assert isinstance(ann, CommandResult)
        assert isinstance(bug, ZeroDivisionError)
        assert isinstance(bob, CommandResult)
    assert "a command could not be decided" in caplog.text


@pytest.mark.parametrize("title", ["x" * 70_000, "\ud800"], ids=["too long", "lone surrogate"])
async def test_event_too_long_for_a_line_is_refused_without_affecting_others(
    storage: Storage, title: str
) -> None:
    async with open_harness(storage) as harness:
        ann, refusal, item = await asyncio.gather(
            harness.register("ann"),
            harness.create(1, title),
            harness.create(1),
            return_exceptions=True,
        )
        assert isinstance(ann, CommandResult)
        assert isinstance(refusal, Invalid)
        assert isinstance(item, CommandResult)
        assert item.record.subject == "items/1"


async def test_result_equals_what_a_replay_reads(storage: Storage) -> None:
    """Position, hash and offset of the record are those of the line on the disk."""
    async with open_harness(storage) as harness:
        wishes: list[Command] = [RegisterUser(profile("ann")), create_item(1, Content("one"))]
        outcomes = await harness.journal.execute_all(wishes)
        live = await harness.state()
    async with open_harness(storage) as harness:
        replayed = await harness.state()
        assert replayed.last == live.last == outcomes[-1].record
        assert msgspec.structs.asdict(replayed["items"].by_id[1]) == msgspec.structs.asdict(
            cast("Entity", outcomes[1].entity)
        )
        assert await harness.sums() == (live.digest(), live.checksum())


async def test_write_is_refused_after_its_session_has_ended(storage: Storage) -> None:
    """Also where the session was good when the wish came, and in the same batch."""
    async with open_harness(storage) as harness:
        ann = await harness.register("ann")
        assert isinstance(ann.entity, User)
        hashed = ann.entity.password_hash
        login = StartSession(1, hashed, "s", "secret", Lifetime(9_000, 9_000), Device())
        await harness.journal.execute(login)
        await harness.journal.execute(create_item(1, Content("a")), Origin(credential="sessions/s"))
        answers = await asyncio.gather(
            harness.journal.execute(EndSession(1, "s", "logout")),
            harness.journal.execute(create_item(1, Content("b")), Origin(credential="sessions/s")),
            return_exceptions=True,
        )
        assert isinstance(answers[0], CommandResult)
        assert isinstance(answers[1], Unauthenticated)
        assert (await harness.state()).position == 4


async def test_a_check_of_the_log_writes_nothing(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        before = await storage.lines()
        await harness.journal.execute_all(())
        assert await storage.lines() == before
        assert (await harness.state()).position == 1
        await harness.register("bob")
    assert len(await storage.lines()) == 2


async def test_a_check_of_the_log_shares_the_batch_of_writes(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await asyncio.gather(
            harness.register("ann"), harness.journal.execute_all(()), harness.register("bob")
        )
        assert harness.log.batches == [2]


@pytest.mark.parametrize("error", [StorageFull("no room"), LogUnavailable("no lock")])
async def test_a_check_of_the_log_raises_what_a_write_would_raise(
    storage: Storage, error: Exception
) -> None:
    async with open_harness(storage) as harness:
        harness.log.error = error
        with pytest.raises(type(error)):
            await harness.register("ann")
        with pytest.raises(type(error)):
            await harness.journal.execute_all(())
        harness.log.error = None
        await harness.journal.execute_all(())
    with pytest.raises(LogUnavailable):
        await harness.journal.execute_all(())


async def test_a_check_of_the_log_needs_a_place_in_the_queue(storage: Storage) -> None:
    async with open_harness(storage, limits=JournalConfig(batch=1, queue=1)) as harness:
        harness.log.hold()
        under_way = asyncio.create_task(harness.register("ann"))
        await harness.log.wait_until_held()
        queued = asyncio.create_task(harness.journal.execute_all(()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await harness.journal.execute_all(())
        harness.log.release()
        await asyncio.gather(under_way, queued)
