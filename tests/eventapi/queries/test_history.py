"""The history of an item equals a fold of the log, and reads only the item's lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventapi.queries.history import RECORDS_PER_READ, History, _runs
from eventapi.testing.given import Happened, at, created, folded_records, records_of, registered
from eventapi.testing.items import ITEMS, ContentChanges, ItemDeleted, ItemUpdated
from eventapi.testing.sample_log import Written, key_of, write
from eventapi.testing.strategies import sound_histories
from events.errors import Invalid, Overloaded
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.tombstones import Tombstone


def updated(number: int, title: str) -> Happened:
    """An item has another title."""
    return f"items/{number}", ItemUpdated(personal=ContentChanges(title=title))


class CountingLog(MemoryLog):
    """A log that counts the lines that were read of it."""

    lines_read = 0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            self.lines_read += len(lines)
            yield lines


def past_of(written: Written) -> tuple[History, CountingLog]:
    log = CountingLog(written.lines, Head(len(written.lines), written.records[-1].hash))
    keyring = Keyring()
    for subject in written.keys:
        keyring.add(subject, key_of(subject))
    return History(log, keyring, MemoryVault(), None, lambda: ITEMS), log


async def life_of(past: History, item: Entity | Tombstone, state: State) -> list[Record]:
    """All records about an item, oldest first."""
    return await past.records(state.resources.versions.of(item.version))


@given(sound_histories(), st.data())
async def test_past_state_equals_a_fold_up_to_the_position(
    history: list[Happened], data: st.DataObject
) -> None:
    written = write(history)
    if not written.records:
        return
    state = folded_records(written.records)
    past, _ = past_of(written)
    position = data.draw(st.integers(0, state.position))
    then = folded_records(written.records[:position])
    for user in state.users.by_id.values():
        if user.status == "erased":
            continue
        items = state["items"].all_of_owner(user.id)
        found = await past.entities_at(position, items, state["items"])
        assert found == {
            number: then["items"].by_id[number] for number in then["items"].by_owner[user.id]
        }
        assert {one.id for one in items if state["items"].version_at(one, position)} == found.keys()
        for item in items:
            life = await life_of(past, item, state)
            subject = f"items/{item.id}"
            assert [replace(one, end=0) for one in life] == [
                replace(one, end=0) for one in written.records if one.subject == subject
            ]


@given(sound_histories(), st.integers(-2, 40))
async def test_time_means_the_last_position_up_to_it(history: list[Happened], second: int) -> None:
    written = write(history)
    if not written.records:
        return
    past, _ = past_of(written)
    state = folded_records(written.records)
    found = await past.position(at(second), state)
    assert found == sum(record.time <= at(second) for record in written.records)


async def test_position_beyond_the_log_is_refused() -> None:
    past, _ = past_of(write([registered(1, "ann")]))
    state = folded_records(records_of([registered(1, "ann")]))
    assert await past.position(1, state) == 1
    with pytest.raises(Invalid):
        await past.position(2, state)


def test_reads_do_not_depend_on_the_length_of_the_log() -> None:
    def read_of(others: int) -> int:
        history = [registered(1, "ann"), created(1, 1)]
        history += [created(number, 1) for number in range(2, others)]
        written = write(history)
        past, log = past_of(written)
        state: State = folded_records(written.records)
        item = state["items"].by_id[1]
        assert len(asyncio.run(life_of(past, item, state))) == 1
        return log.lines_read

    assert read_of(10) == read_of(200) == 2


async def test_reading_a_long_history_lets_other_tasks_run() -> None:
    history = [registered(1, "ann"), created(1, 1)]
    history += [updated(1, f"title {number}") for number in range(1000)]
    written = write(history)
    past, _ = past_of(written)
    state = folded_records(written.records)

    async def turns() -> int:
        life = asyncio.create_task(life_of(past, state["items"].by_id[1], state))
        count = 0
        while not life.done():
            await asyncio.sleep(0)
            count += 1
        assert len(life.result()) == 1001
        return count

    assert await turns() > 3


async def test_memory_of_an_item_history_does_not_depend_on_the_log() -> None:
    history = [registered(1, "ann"), created(1, 1)]
    history += [created(number, 1) for number in range(2, 3000)]
    written = write([*history, updated(1, "the last")])
    past, _ = past_of(written)
    state = folded_records(written.records)
    then = await past.entities_at(state.position, [state["items"].by_id[1]], state["items"])
    assert {number: item.title for number, item in then.items()} == {1: "the last"}


@pytest.mark.parametrize(
    ("positions", "runs"),
    [
        ([], []),
        ([5], [(5, 5)]),
        ([1, 2, 3], [(1, 3)]),
        ([1, 33, 66], [(1, 33), (66, 66)]),
        (range(1, 41), [(1, 16), (17, 32), (33, 40)]),
        (range(1, 200, 30), [(1, 61), (91, 151), (181, 181)]),
    ],
)
def test_near_positions_are_read_at_once(
    positions: Sequence[int], runs: list[tuple[int, int]]
) -> None:
    assert [(first, last) for first, last, _ in _runs(positions)] == runs
    backwards = list(_runs(positions[::-1]))
    assert [one for _, _, wanted in backwards for one in wanted] == list(positions[::-1])
    assert all((min(wanted), max(wanted)) == (first, last) for first, last, wanted in backwards)


def versions(*changes: Any, size: int = 1) -> list[Happened]:
    """An item, another one, and then these changes of the first, ``size`` times over."""
    start = [registered(1, "ann"), created(1, 1), created(2, 1)]
    return [*start, *(("items/1", ItemUpdated(personal=change)) for change in changes * size)]


TITLE = ContentChanges(title="title")
DELETED: Happened = ("items/1", ItemDeleted())


async def test_long_history_is_read_a_few_lines_at_a_time() -> None:
    """However long the life of an item is, and however far its events lie apart."""
    history = versions(TITLE, size=300)
    for number in range(3, 200):
        history += [created(number, 1), ("items/1", ItemUpdated(personal=TITLE))]
    written = write(history)
    past, log = past_of(written)
    state = folded_records(written.records)

    async def most() -> int:
        found, before = 0, 0
        positions = state.resources.versions.of(state["items"].by_id[1].version)
        async for records in past.slices(positions):
            assert len(records) <= RECORDS_PER_READ
            found, before = max(found, log.lines_read - before), log.lines_read
        return found

    assert await most() <= 65


async def test_past_states_of_one_caller_take_one_place() -> None:
    """The others find a place, and do not wait for all states of that caller."""
    past, _ = past_of(write([registered(1, "ann")]))
    order: list[int] = []

    async def read(caller: int) -> None:
        async with past.state_at(1, caller):
            order.append(caller)
            await asyncio.sleep(0)

    others = list(range(2, 9))
    await asyncio.gather(*(read(1) for _ in range(32)), *map(read, others))
    assert (order.count(1), sorted(order[:8])) == (32, [1, *others])
    answers = await asyncio.gather(*(read(1) for _ in range(33)), return_exceptions=True)
    assert [type(one) for one in answers if one is not None] == [Overloaded]
    answers = await asyncio.gather(*map(read, range(1, 10)), return_exceptions=True)
    assert [type(one) for one in answers if one is not None] == [Overloaded]
    assert not past._callers


async def test_caller_reads_once_at_a_time_and_few_callers_at_once() -> None:
    past, _ = past_of(write([registered(1, "ann")]))
    running: list[int] = []
    most: dict[str, int] = {"callers": 0, "of one": 0}

    async def read(caller: int) -> None:
        async with past.turn_of(caller):
            running.append(caller)
            most["callers"] = max(most["callers"], len(running))
            most["of one"] = max(most["of one"], running.count(caller))
            await asyncio.sleep(0.001)
            running.remove(caller)

    async def run() -> None:
        await asyncio.gather(*(read(number % 10) for number in range(100)))

    await run()
    assert most == {"callers": 4, "of one": 1}
    assert not past._callers


async def test_only_the_caller_with_too_many_reads_is_refused() -> None:
    past, _ = past_of(write([registered(1, "ann")]))

    async def read(caller: int) -> str:
        try:
            async with past.turn_of(caller):
                await asyncio.sleep(0)
        except Overloaded:
            return "refused"
        return "read"

    async def run() -> list[str]:
        return await asyncio.gather(read(2), *(read(1) for _ in range(40)), read(3))

    found = await run()
    assert found == ["read"] + ["read"] * 32 + ["refused"] * 8 + ["read"]


async def test_caller_without_reads_is_always_admitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow clients keep their histories open: a few accounts must not take all places for ever."""
    monkeypatch.setattr("eventapi.queries.history._MAX_READS", 4)
    past, _ = past_of(write([registered(1, "ann")]))

    async def run() -> None:
        with ExitStack() as slow:
            for caller in (1, 1, 2, 2):
                slow.enter_context(past.admit(caller))
            with pytest.raises(Overloaded), past.admit(1):
                pass
            async with past.turn_of(3):
                with pytest.raises(Overloaded), past.admit(3):
                    pass

    await run()
    assert not past._callers


async def test_answers_to_repeated_requests_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A repeated request may cost as much as any read of the past, so one caller has one turn."""
    written = write([*versions(TITLE, size=3), DELETED])
    past, _ = past_of(written)
    state = folded_records(written.records)
    running: list[int] = []
    read = History.entities_at

    async def counted(self: History, position: int, *rest: Any) -> dict[int, Entity]:
        running.append(position)
        assert len(running) == 1
        await asyncio.sleep(0.001)
        found = await read(self, position, *rest)
        running.pop()
        return found

    monkeypatch.setattr(History, "entities_at", counted)

    async def run() -> list[Any]:
        answers = (past.entity_after(state.position - 1, "items/1", state) for _ in range(40))
        return await asyncio.gather(*answers, return_exceptions=True)

    found = await run()
    assert [getattr(one, "title", type(one)) for one in found] == ["title"] * 32 + [Overloaded] * 8
    assert not past._callers


@pytest.mark.parametrize("last", [[], [DELETED]])
async def test_unchanged_entity_is_not_read_from_the_log(last: list[Happened]) -> None:
    written = write([*versions(TITLE, size=3), *last])
    past, log = past_of(written)
    state = folded_records(written.records)

    async def run() -> list[Any]:
        answers = (past.entity_after(state.position, "items/1", state) for _ in range(100))
        return await asyncio.gather(*answers)

    assert set(await run()) == {state["items"].by_id.get(1)}
    assert log.lines_read == 0


async def test_cancelled_turn_is_released() -> None:
    past, _ = past_of(write([registered(1, "ann")]))

    async def run() -> None:
        async with past.turn_of(1):
            waiting = asyncio.create_task(past.turn_of(1).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with past.turn_of(1):
            pass

    await run()
    assert not past._callers
