"""Taking turns at one JSON-lines log, where a task is cancelled or a process killed."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from events.codec import decode
from events.errors import LogFenced, LogUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.verification.verify import verify
from tests.events.log_helpers import (
    append,
    file_bytes,
    in_event_loop,
    open_file_log,
    quarantined_tails,
    read_all,
    recover,
)
from tests.events.processes import BATCH, BATCHES, start, start_locked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


async def _lock(log: JsonlLog) -> None:
    """Lock the log if it comes soon."""
    async with log.exclusive(0.05):
        pass


# A cancelled task


class _SlowSync:
    """A sync that ends when it is told to, well or with an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: OSError | None = None) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self._error = error
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, _: int) -> None:
        self.begun.set()
        self.may_end.wait(10)
        if self._error is not None:
            raise self._error

    async def cancel_meanwhile(self, task: asyncio.Task[list[bytes]]) -> None:
        await asyncio.to_thread(self.begun.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.001)


@in_event_loop
async def test_a_cancelled_append_holds_the_lock_until_its_write_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next writer would find one at work, and both would write at one place."""
    async with open_file_log(path) as log, open_file_log(path) as other:
        lines = await append(log, 2)
        sync = _SlowSync(monkeypatch)
        task = asyncio.create_task(append(log, 2))
        await sync.cancel_meanwhile(task)
        with pytest.raises(LogUnavailable):
            await _lock(other)
        sync.may_end.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert path.read_bytes() == file_bytes(lines)
        assert (await recover(other)).position == 2
    assert quarantined_tails(path) == []


@in_event_loop
async def test_what_a_cancelled_append_takes_back_stays_away_after_a_power_cut(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it could be back behind another write of the same length, half of one and half of other."""
    async with open_file_log(path) as log:
        await append(log, 2)
        sync = _SlowSync(monkeypatch)
        task = asyncio.create_task(append(log, 2))
        await sync.cancel_meanwhile(task)
        sync.may_end.set()
        synced_sizes: list[int] = []
        monkeypatch.setattr(
            os, "fdatasync", lambda file: synced_sizes.append(os.fstat(file).st_size)
        )
        await asyncio.wait([task])
        assert task.cancelled()
        assert synced_sizes == [path.stat().st_size]


@in_event_loop
async def test_a_cancelled_append_whose_sync_fails_still_raises_the_fence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        sync = _SlowSync(monkeypatch, OSError(errno.EIO, "broken"))
        task = asyncio.create_task(append(log, 2))
        await sync.cancel_meanwhile(task)
        sync.may_end.set()
        await asyncio.wait([task])
        with pytest.raises(LogFenced):
            await append(other, 1)


@in_event_loop
async def test_who_gives_up_waiting_for_the_lock_need_not_wait_for_its_timeout(path: Path) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other, log.exclusive(1):
        task = asyncio.create_task(append(other))
        await asyncio.sleep(0.01)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        assert done == {task}


@in_event_loop
async def test_a_lock_that_comes_to_who_has_given_up_is_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that waits for it takes it a moment after its task was cancelled."""
    real = time.sleep
    async with (
        open_file_log(path) as log,
        open_file_log(path) as other,
        open_file_log(path) as third,
    ):
        async with log.exclusive(1):
            monkeypatch.setattr(time, "sleep", lambda _: real(0.05))
            task = asyncio.create_task(append(other))
            await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.1)
        async with third.exclusive(0):
            assert task.cancelled()


# Other processes


def test_processes_in_turn_make_one_dense_chain(path: Path) -> None:
    writers = [start("append", path) for _ in range(2)]
    for writer in writers:
        with writer:
            assert writer.wait(60) == 0
    lines = path.read_bytes().splitlines()
    assert len(decode(lines, Keyring())) == 2 * BATCHES * BATCH
    assert verify(path).ok
    assert quarantined_tails(path) == []


@in_event_loop
async def test_a_process_that_holds_the_lock_holds_it_off_others(path: Path) -> None:
    with start_locked("hold", path) as holder:
        async with open_file_log(path) as log:
            with pytest.raises(LogUnavailable):
                await _lock(log)
            holder.send_signal(signal.SIGKILL)
            assert await append(log)


@in_event_loop
async def test_a_process_killed_in_the_middle_of_a_write_costs_only_what_was_torn(
    path: Path,
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 2)
        with start_locked("half", path) as writer:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        lines += await append(log, 1)
        assert log.position == 5
        assert (await read_all(log))[:2] == lines[:2]
    assert len(quarantined_tails(path)) == 1
    assert verify(path).ok


@in_event_loop
async def test_a_child_inherits_neither_log_nor_lock(path: Path) -> None:
    async with open_file_log(path) as log:
        assert not os.get_inheritable(log._file)
        assert not os.get_inheritable(log._lock_file)


@in_event_loop
async def test_readers_go_on_while_others_recover(path: Path) -> None:
    """A cut is past the mark, where nobody reads."""
    async with open_file_log(path) as reader, open_file_log(path) as writer:
        lines = await append(writer, 50, size=4000)
        for _ in range(20):
            reading = reader.read()
            read = list(await anext(reading))
            with path.open("ab") as file:
                file.write(b"torn" * 100)
            assert (await recover(writer)).position == 50
            async for run in reading:
                read += run
            assert read == lines
