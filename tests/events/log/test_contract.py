"""The contract of `events.log.port`, which every adapter must satisfy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventapi.testing.items import ITEMS
from events.codec import decode
from events.errors import LogUnavailable
from events.log.port import EventLog, Head
from events.sealing import Keyring
from tests.events.log_helpers import append, read_all, some_lines
from tests.events.stores import DATABASES, KINDS, SERVERLESS, Store, new_store

Open = Callable[[], Awaitable[EventLog]]
"""Opens the log of a test once more, as another process would if the adapter supports several."""


@pytest.fixture(params=[*KINDS, "galera"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path, cleanup: AsyncExitStack) -> Open:
    """A function that opens the log; every opened one is closed when the test ends."""
    return _opener(request, tmp_path, cleanup)


@pytest.fixture(params=KINDS)
def open_locked(request: pytest.FixtureRequest, tmp_path: Path, cleanup: AsyncExitStack) -> Open:
    """The same of all adapters but Galera, where a lock excludes only appenders of one node."""
    return _opener(request, tmp_path, cleanup)


def _opener(request: pytest.FixtureRequest, tmp_path: Path, cleanup: AsyncExitStack) -> Open:
    store = new_store(request.param, request, tmp_path)

    async def open_once_more() -> EventLog:
        log = await store.open_log()
        cleanup.push_async_callback(log.close)
        return log

    return open_once_more


async def test_a_new_log_is_empty(open_log: Open) -> None:
    log = await open_log()
    assert log.position == 0
    assert await read_all(log) == []
    async with log.exclusive(1) as appender:
        assert appender.head == Head()


async def test_lines_are_read_as_they_were_appended_byte_for_byte(open_log: Open) -> None:
    log = await open_log()
    written = [line for count in (1, 3, 2) for line in await append(log, count)]
    assert await read_all(log) == written
    assert log.position == 6


async def test_the_head_is_the_last_record_appended(open_log: Open) -> None:
    log = await open_log()
    lines, head = some_lines(3)
    async with log.exclusive(1) as appender:
        await appender.append(lines, head)
        assert appender.head == head
    async with log.exclusive(1) as appender:
        assert appender.head == head


async def test_a_range_is_after_after_up_to_and_including_upto(open_log: Open) -> None:
    log = await open_log()
    lines = await append(log, 6)
    for after in range(-2, 9):
        for upto in (None, *range(9)):
            expected = lines[max(after, 0) : upto]
            assert await read_all(log, after, upto) == expected, (after, upto)


async def test_any_range_of_a_long_log_is_read(open_log: Open) -> None:
    log = await open_log()
    lines = [line for _ in range(20) for line in await append(log, 50, size=1000)]
    other = await open_log()
    for after, upto in ((0, 1000), (999, 1000), (500, 501), (37, 731), (3, 4), (731, None)):
        assert await read_all(other, after, upto) == lines[after:upto]


async def test_a_read_yields_no_empty_run(open_log: Open) -> None:
    log = await open_log()
    await append(log, 300, size=3000)
    assert [run async for run in log.read(299)] != []
    assert all([run async for run in log.read()])
    assert all([run async for run in log.read(150, 151)])


async def test_a_read_ends_at_the_head_of_the_time_of_its_call(open_log: Open) -> None:
    log = await open_log()
    lines = await append(log, 200, size=4000)
    reading = log.read()
    read = list(await anext(reading))
    await append(log, 5)
    async for run in reading:
        read += run
    assert read == lines


async def test_an_append_becomes_visible_at_one_instant(open_log: Open) -> None:
    log, other = await open_log(), await open_log()
    seen = set()

    async def watch() -> None:
        while other.position < 100:
            seen.add(other.position)
            assert len(await read_all(other)) % 5 == 0
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    for _ in range(20):
        await append(log, 5)
        assert log.position == other.position
        await asyncio.sleep(0)
    await watching
    assert all(position % 5 == 0 for position in seen)


@pytest.mark.parametrize("count", [0, 3])
async def test_an_append_of_no_lines_changes_nothing(open_log: Open, count: int) -> None:
    log = await open_log()
    lines = await append(log, count) if count else []
    async with log.exclusive(1) as appender:
        before = appender.head
        appender.keep_reserve()
        await appender.append((), before)
        assert (appender.head, log.position) == (before, count)
    lines = [*lines, *await append(log, 2)]
    assert await read_all(log) == await read_all(await open_log()) == lines


async def test_the_lock_excludes_every_other_appender_until_its_timeout(open_locked: Open) -> None:
    log, other = await open_locked(), await open_locked()
    async with log.exclusive(1):
        for waiting in (log, other):
            with pytest.raises(LogUnavailable):
                async with waiting.exclusive(0.02):
                    pytest.fail("two held the lock")
    assert await append(other)


async def test_a_free_lock_is_acquired_with_a_timeout_of_zero(open_log: Open) -> None:
    async with (await open_log()).exclusive(0) as appender:
        assert appender.head == Head()


async def test_the_lock_does_not_block_readers(open_log: Open) -> None:
    log, other = await open_log(), await open_log()
    lines = await append(log, 2)
    async with log.exclusive(1):
        assert await read_all(other) == lines


async def test_a_waiting_appender_gets_the_head_that_the_last_holder_left(
    open_locked: Open,
) -> None:
    log, other = await open_locked(), await open_locked()

    async def wait() -> int:
        async with other.exclusive(5) as appender:
            return appender.head.position

    async with log.exclusive(1) as appender:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        lines, head = some_lines(4)
        await appender.append(lines, head)
    assert await waiting == 4


async def test_concurrent_appends_make_one_dense_chain(open_locked: Open) -> None:
    logs = [await open_locked() for _ in range(4)]
    written = await asyncio.gather(*(append(log, 2) for log in logs for _ in range(5)))
    lines = await read_all(logs[0])
    assert [record.position for record in decode(lines, Keyring(), ITEMS)] == list(range(1, 41))
    assert sorted(lines) == sorted(line for lines in written for line in lines)


async def test_an_error_under_the_lock_releases_it_and_keeps_the_appended_lines(
    open_log: Open,
) -> None:
    log, other = await open_log(), await open_log()
    lines, head = some_lines(2)

    async def append_and_fail() -> None:
        async with log.exclusive(1) as appender:
            await appender.append(lines, head)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await append_and_fail()
    async with other.exclusive(0) as appender:
        assert appender.head == head


async def test_a_cancelled_wait_leaves_the_lock_to_others(open_locked: Open) -> None:
    log, other, third = await open_locked(), await open_locked(), await open_locked()
    async with log.exclusive(1):
        waiting = [asyncio.create_task(append(waiter)) for waiter in (log, other)]
        await asyncio.sleep(0.005)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
    async with third.exclusive(0) as appender:
        assert appender.head == Head()


async def test_a_cancelled_append_is_complete_or_absent(open_log: Open) -> None:
    log, other = await open_log(), await open_log()
    lines = await append(log, 3)
    for delay in range(4):
        task = asyncio.create_task(append(log, 50, size=4000))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, list):
            lines += outcome
        assert await read_all(other) == lines
        assert other.position == len(lines)
        lines += await append(other, 2)
    assert await read_all(log) == lines


async def test_a_log_opened_again_has_all_appended_lines(open_log: Open) -> None:
    log = await open_log()
    lines = await append(log, 7)
    other = await open_log()
    assert other.position == 7
    assert await read_all(other, 5) == lines[5:]


STEPS = st.lists(
    st.one_of(
        st.integers(1, 4).map(lambda count: ("append", count, 0)),
        st.tuples(st.just("read"), st.integers(-1, 12), st.integers(-1, 12)),
        st.just(("reopen", 0, 0)),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("kind", SERVERLESS)
async def test_any_sequence_of_appends_and_reads_behaves_like_a_list(
    kind: str,
    steps: list[tuple[str, int, int]],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    await _play(new_store(kind, request, tmp_path_factory.mktemp("log")), steps)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@pytest.mark.parametrize("kind", DATABASES)
async def test_any_sequence_with_a_database_behaves_like_a_list(
    kind: str,
    steps: list[tuple[str, int, int]],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Fewer examples, because each needs a database of its own."""
    await _play(new_store(kind, request, tmp_path_factory.mktemp("log")), steps)


async def _play(store: Store, steps: list[tuple[str, int, int]]) -> None:
    log, model = await store.open_log(), list[bytes]()
    for step, first, second in steps:
        if step == "append":
            model += await append(log, first)
        elif step == "read":
            expected = model[max(first, 0) : max(second, 0)]
            assert await read_all(log, first, second) == expected
        else:
            await log.close()
            log = await store.open_log()
        assert log.position == len(model)
    await log.close()
