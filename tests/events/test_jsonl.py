"""The JSON-lines log when the disk, a task or a process fails it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from events.codec import decode
from events.errors import ConfigurationError, LogFenced, LogUnavailable, StorageFull
from events.log import jsonl
from events.log.jsonl import JsonlLog
from events.log.mark import Mark, peek
from events.log.verify import verify
from events.sealing import Keyring
from tests.events.processes import BATCH, BATCHES, start, start_locked
from tests.events.stories import (
    append,
    everything,
    in_event_loop,
    joined,
    mark_of,
    opened,
    quarantined,
    recover,
    some_lines,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def _failing(reason: int) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    return fail


# Durable before published


@in_event_loop
async def test_an_append_is_synced_before_it_is_published(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bytes, int]] = []
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        real(descriptor)
        synced.append((path.read_bytes(), peek(mark_of(path)).head.position))

    async with opened(path) as log:
        first = await append(log, 2)
        monkeypatch.setattr(os, "fdatasync", sync)
        second = await append(log, 3)
        assert synced == [(joined(first + second), 2)]
        assert log.position == 5


@in_event_loop
async def test_what_is_not_published_is_not_read(path: Path) -> None:
    async with opened(path) as log:
        lines = await append(log, 2)
        with path.open("ab") as file:
            file.write(joined(some_lines(1, log.head)[0]))
        assert (await everything(log), log.position) == (lines, 2)


@in_event_loop
async def test_new_directories_are_synced_into_the_ones_above_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not take the directory away, and the log with it."""
    synced: list[Path] = []
    monkeypatch.setattr(jsonl, "sync_directory", synced.append)
    top = path.parent
    async with opened(top / "a" / "b" / "events.jsonl"):
        assert synced == [top, top / "a", top / "a" / "b"]


# No room, and other refusals of a write


@pytest.mark.parametrize("written", [0, 1, 200, 700])
@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EIO, LogUnavailable),
    ],
)
@in_event_loop
async def test_a_write_that_fails_leaves_the_log_as_it_was_and_it_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, written: int, reason: int, refusal: type[Exception]
) -> None:
    """Also where a part had been written, with whole lines in it."""
    real = os.pwrite

    def fill_up(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= end + written:
            raise OSError(reason, os.strerror(reason))
        return real(descriptor, data[:written], offset)

    async with opened(path) as log, opened(path) as other:
        lines = await append(log, 2)
        end = len(joined(lines))
        with monkeypatch.context() as full:
            full.setattr(os, "pwrite", fill_up)
            with pytest.raises(refusal):
                await append(log, 3)
        assert path.read_bytes() == joined(lines)
        assert (log.position, await everything(other)) == (2, lines)
        lines += await append(log, 3)
        lines += await append(other, 1)
        assert await everything(log) == lines
    assert quarantined(path) == []


@in_event_loop
async def test_a_write_in_small_pieces_is_completed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:7], offset))
    async with opened(path) as log:
        lines = await append(log, 3)
    assert path.read_bytes() == joined(lines)


@in_event_loop
async def test_control_a_write_taken_to_be_whole_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def lie(descriptor: int, data: bytes, offset: int) -> int:
        real(descriptor, data[:-7], offset)
        return len(data)

    monkeypatch.setattr(os, "pwrite", lie)
    async with opened(path) as log:
        await append(log, 3)
    assert not verify(path).ok


@in_event_loop
async def test_a_directory_that_cannot_be_used_is_an_error_of_configuration(path: Path) -> None:
    path.write_bytes(b"")
    for unusable in (path / "events.jsonl", path.parent):
        with pytest.raises(ConfigurationError):
            JsonlLog(unusable)


# A failed sync


@in_event_loop
async def test_a_failed_sync_fences_every_open_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as log, opened(path) as other:
        lines = await append(log, 2)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _failing(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 1)
        for fenced in (log, other, log):
            with pytest.raises(LogFenced):
                await append(fenced, 1)
            assert await everything(fenced) == lines


@in_event_loop
async def test_a_failed_sync_leaves_no_second_try_under_the_same_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as log, log.exclusive(1) as appender:
        lines, head = some_lines(1)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _failing(errno.EIO))
            with pytest.raises(LogFenced):
                await appender.append(lines, head)
        with pytest.raises(LogFenced):
            await appender.append(lines, head)
        assert log.position == 0


@in_event_loop
async def test_a_start_after_a_failed_sync_cuts_back_to_the_mark(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even whole lines: the kernel has them, the disk may not."""
    async with opened(path) as log:
        lines = await append(log, 2)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _failing(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 2)
        async with opened(path) as fresh, opened(path) as fresher:
            lost = path.read_bytes()[len(joined(lines)) :]
            lines += await append(fresh, 1)
            lines += await append(fresher, 1)
            assert await everything(log) == lines
            with pytest.raises(LogFenced):
                await append(log, 1)
    assert quarantined(path) == [lost]
    assert verify(path).ok


@in_event_loop
async def test_control_without_the_fence_another_process_would_publish_what_never_reached_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mark, "raise_fence", lambda _: None)
    async with opened(path) as log, opened(path) as other:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _failing(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 2)
        assert (await recover(other)).position == 2


# A cancelled task


@in_event_loop
async def test_a_cancelled_append_holds_the_lock_until_its_write_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next writer would find one at work, and both would write at one place."""
    ended: list[float] = []
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        time.sleep(0.05)
        real(descriptor)
        ended.append(time.monotonic())

    async with opened(path) as log, opened(path) as other:
        lines = await append(log, 2)
        monkeypatch.setattr(os, "fdatasync", slow)
        task = asyncio.create_task(append(log, 2))
        await asyncio.sleep(0.01)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        async with other.exclusive(5) as appender:
            assert len(ended) == 1
            assert time.monotonic() >= ended[0]
            assert appender.head.position == 2
        assert task.cancelled()
        assert path.read_bytes() == joined(lines)
    assert quarantined(path) == []


@in_event_loop
async def test_a_cancelled_append_whose_sync_fails_still_raises_the_fence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_and_failing(_: int) -> None:
        time.sleep(0.02)
        raise OSError(errno.EIO, "broken")

    async with opened(path) as log, opened(path) as other:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", slow_and_failing)
            task = asyncio.create_task(append(log, 2))
            await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.wait([task])
        with pytest.raises(LogFenced):
            await append(other, 1)


# Other processes


def test_processes_in_turn_make_one_dense_chain(path: Path) -> None:
    writers = [start("append", path) for _ in range(2)]
    for writer in writers:
        with writer:
            assert writer.wait(60) == 0
    lines = path.read_bytes().splitlines()
    assert len(decode(lines, Keyring())) == 2 * BATCHES * BATCH
    assert verify(path).ok
    assert quarantined(path) == []


@in_event_loop
async def test_a_process_that_holds_the_lock_holds_it_off_others(path: Path) -> None:
    with start_locked("hold", path) as holder:
        async with opened(path) as log:
            with pytest.raises(LogUnavailable):
                async with log.exclusive(0.05):
                    pytest.fail("two held the lock")
            holder.send_signal(signal.SIGKILL)
            assert await append(log)


@in_event_loop
async def test_a_process_killed_in_the_middle_of_a_write_costs_only_what_was_torn(
    path: Path,
) -> None:
    async with opened(path) as log:
        lines = await append(log, 2)
        with start_locked("half", path) as writer:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        lines += await append(log, 1)
        assert log.position == 5
        assert (await everything(log))[:2] == lines[:2]
    assert len(quarantined(path)) == 1
    assert verify(path).ok


@in_event_loop
async def test_a_child_inherits_neither_log_nor_lock(path: Path) -> None:
    async with opened(path) as log:
        assert not os.get_inheritable(log._file)
        assert not os.get_inheritable(log._lock_file)


@in_event_loop
async def test_readers_go_on_while_others_recover(path: Path) -> None:
    """A cut is past the mark, where nobody reads."""
    async with opened(path) as reader, opened(path) as writer:
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
