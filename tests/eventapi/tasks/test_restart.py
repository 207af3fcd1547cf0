"""Background tasks: an error is logged, and the task is restarted."""

from __future__ import annotations

import asyncio

import pytest

from eventapi.bootstrap.storage import SYSTEM
from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.tasks import restart as background
from eventapi.tasks.catch_up import run_catch_up
from eventapi.tasks.restart import restart_on_error
from eventapi.testing.items import ITEMS
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from projections.state import State
from tests.events.log_helpers import append

WAIT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESTART_DELAY_SECONDS", 0)


async def follow_a_log_that_fails_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Returns when it has been followed in spite of that."""
    asked = 0
    done = asyncio.Event()

    async def state(journal: Journal) -> State:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise error
        done.set()
        return journal._state

    monkeypatch.setattr(Journal, "state", state)
    monkeypatch.setattr("eventapi.tasks.catch_up.RETRY_SECONDS", 0)
    log = MemoryLog()
    await append(log)
    journal = Journal(log, MemoryVault(), ITEMS, SYSTEM)
    async with (
        asyncio.timeout(WAIT_SECONDS),
        restart_on_error(lambda: run_catch_up(journal, LogWatcher(log)), "following"),
    ):
        await done.wait()


@pytest.mark.parametrize(
    "error", [EOFError("of a driver"), RuntimeError("of a library"), OSError("of the system")]
)
async def test_catch_up_continues_after_any_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    await follow_a_log_that_fails_once(monkeypatch, error)
    (told,) = caplog.records
    assert told.getMessage().startswith("following failed because of a bug in eventapi")
    assert told.exc_info is not None
    assert told.exc_info[1] is error


async def test_finished_task_is_not_restarted() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1

    async with restart_on_error(work, "work"):
        for _ in range(10):
            await asyncio.sleep(0)
    assert begun == 1


async def test_task_continues_if_only_an_awaited_future_was_cancelled() -> None:
    begun = 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            lost = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost
        done.set()

    async with asyncio.timeout(WAIT_SECONDS), restart_on_error(work, "work"):
        await done.wait()
    assert begun == 2


async def test_task_ends_with_the_server() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    async with restart_on_error(work, "work"):
        await asyncio.sleep(0)
    assert ended
