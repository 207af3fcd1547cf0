"""The lock of a JSON-lines log, with cancelled tasks and killed processes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS
from events.codec import decode
from events.errors import LogFenced, LogUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.verification.verify import verify
from tests.events.log_helpers import (
    append,
    file_bytes,
    open_file_log,
    quarantined_tails,
    read_all,
    recover,
)
from tests.events.processes import BATCH, BATCHES, start, start_locked


async def _lock(log: JsonlLog) -> None:
    """Lock the log, with a short timeout."""
    async with log.exclusive(0.05):
        pass


# A cancelled task


class _SlowSync:
    """A sync that blocks until `may_end` is set, and then succeeds or fails."""

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


async def test_a_cancelled_append_holds_the_lock_until_its_write_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next writer would write at the same offset at the same time."""
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


async def test_the_undo_of_a_cancelled_append_is_durable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could mix its bytes with those of the next write."""
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


async def test_a_cancelled_wait_for_the_lock_ends_before_its_timeout(path: Path) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other, log.exclusive(1):
        task = asyncio.create_task(append(other))
        await asyncio.sleep(0.01)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        assert done == {task}


async def test_a_lock_acquired_after_its_task_was_cancelled_is_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The polling thread acquires it a moment after its task was cancelled."""
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


async def test_a_wait_that_no_thread_can_be_started_for_gives_its_turn_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with (
        open_file_log(path) as log,
        open_file_log(path) as other,
        open_file_log(path) as third,
    ):
        async with log.exclusive(1):
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", start)
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await append(other)
        assert await append(third)


# Other processes


def test_appends_of_two_processes_make_one_dense_chain(path: Path) -> None:
    writers = [start("append", path) for _ in range(2)]
    for writer in writers:
        with writer:
            assert writer.wait(60) == 0
    lines = path.read_bytes().splitlines()
    assert len(decode(lines, Keyring(), ITEMS)) == 2 * BATCHES * BATCH
    assert verify(path, vocabulary=ITEMS).ok
    assert quarantined_tails(path) == []


async def test_the_lock_excludes_other_processes_until_its_holder_is_killed(path: Path) -> None:
    with start_locked("hold", path) as holder:
        async with open_file_log(path) as log:
            with pytest.raises(LogUnavailable):
                await _lock(log)
            holder.send_signal(signal.SIGKILL)
            assert await append(log)


async def test_a_process_killed_in_the_middle_of_a_write_costs_only_the_torn_line(
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
    assert verify(path, vocabulary=ITEMS).ok


async def test_a_child_process_inherits_neither_log_nor_lock(path: Path) -> None:
    async with open_file_log(path):
        ours = [
            int(entry.name)
            for entry in Path("/proc/self/fd").iterdir()
            if os.path.realpath(entry).startswith(f"{path}")
        ]
        assert len(ours) >= 2
        assert not any(map(os.get_inheritable, ours))


async def test_readers_are_not_disturbed_by_a_recovery(path: Path) -> None:
    """It cuts the file only past the commit index, which no reader passes."""
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
