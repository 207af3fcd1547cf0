"""Recovery that fails in the middle: the next one completes it without a loss."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from events.errors import LogFenced, StorageFull
from events.log.file.commit_index import CommitIndex
from events.log.file.log import JsonlLog
from tests.events.log_helpers import (
    append,
    file_bytes,
    open_file_log,
    publish,
    quarantined_tails,
    read_all,
    recover,
    some_lines,
)

LINES, _ = some_lines(30)
AT_20 = some_lines(20)[1]
AT_25 = some_lines(25)[1]


class _PowerCutError(BaseException):
    """The process ends at this call."""


def _lay(path: Path, content: bytes) -> None:
    """Write a log file with that content, of which 20 lines are published."""
    path.write_bytes(content)
    publish(path, LINES[:20], AT_20)


async def test_a_torn_tail_is_durable_in_the_quarantine_before_it_is_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def record(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object) -> object:
            calls.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, call)

    _lay(path, file_bytes(LINES[:20]) + b"torn")
    (path.parent / "quarantine").mkdir()
    async with open_file_log(path) as log:
        for name in ("fsync", "rename", "ftruncate", "fdatasync"):
            record(name)
        await recover(log)
    assert calls == ["fsync", "fsync", "rename", "fsync", "ftruncate", "fdatasync"]


@pytest.mark.parametrize("call", ["fsync", "ftruncate", "fdatasync"])
async def test_an_interrupted_recovery_is_completed_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def die(*_: object) -> None:
        raise _PowerCutError

    _lay(path, file_bytes(LINES[:25]) + b"torn")
    async with open_file_log(path) as log:
        with monkeypatch.context() as power:
            power.setattr(os, call, die)
            with pytest.raises(_PowerCutError):
                await recover(log)
        assert path.read_bytes().startswith(file_bytes(LINES[:25]))
        assert log.position == 20
    async with open_file_log(path) as log:
        assert await recover(log) == AT_25
        assert await read_all(log) == LINES[:25]
    assert b"torn" in quarantined_tails(path)


async def test_recovery_changes_nothing_until_there_is_room_for_the_quarantine(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    content = file_bytes(LINES[:25]) + b"torn"
    _lay(path, content)
    async with open_file_log(path) as log:
        with monkeypatch.context() as full:
            full.setattr("events.log.file.log.write_durably", fill_up)
            with pytest.raises(StorageFull):
                await recover(log)
        assert path.read_bytes() == content
        assert await read_all(log) == LINES[:20]
        assert await recover(log) == AT_25


@pytest.mark.parametrize("whole", [25, 30])
async def test_a_failed_sync_in_recovery_costs_no_whole_line_past_the_commit_index(
    path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    """After a power cut the commit index lags; lines past it may be acknowledged."""
    _lay(path, file_bytes(LINES[:whole]) + b"torn")
    async with open_file_log(path) as log:
        await _fail_to_sync(log, monkeypatch)
        with pytest.raises(LogFenced):
            await recover(log)
        assert log.position == 20
    async with open_file_log(path) as log:
        assert (await recover(log)).position == whole


async def test_lines_past_the_commit_index_are_rewritten_before_they_are_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their writer may have died of a failed sync, and the next sync would skip them."""
    written: list[tuple[int, bytes]] = []
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        written.append((offset, bytes(data)))
        return real(descriptor, data, offset)

    _lay(path, file_bytes(LINES))
    async with open_file_log(path) as log:
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert (await recover(log)).position == 30
    assert written == [(len(file_bytes(LINES[:20])), file_bytes(LINES[20:]))]


async def test_a_process_syncs_the_commit_index_before_its_first_append(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have recovered from a failed sync and died before the sync."""
    calls: list[str] = []
    monkeypatch.setattr(CommitIndex, "set_recovered", lambda _: calls.append("mark"))
    monkeypatch.setattr(os, "fdatasync", lambda _: calls.append("log"))
    async with open_file_log(path) as log:
        await append(log)
        await append(log)
    assert calls == ["mark", "log", "log"]


async def test_a_write_without_room_is_durably_cut_off_before_it_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could bring back the refused lines."""
    calls: list[str] = []
    room = [100]
    real_pwrite, real_sync = os.pwrite, os.fdatasync

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "full")
        return real_pwrite(descriptor, data[: room.pop()], offset)

    def fdatasync(descriptor: int) -> None:
        calls.append(f"sync at {os.fstat(descriptor).st_size}")
        real_sync(descriptor)

    async with open_file_log(path) as log:
        await recover(log)
        monkeypatch.setattr(os, "pwrite", pwrite)
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(StorageFull):
            await append(log)
    assert calls == ["sync at 0"]


async def test_a_failed_sync_of_the_commit_index_in_recovery_raises_the_fence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: CommitIndex) -> None:
        raise OSError(errno.EIO, "broken")

    _lay(path, file_bytes(LINES[:20]))
    async with open_file_log(path) as log:
        await recover(log)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _raise_eio)
            with pytest.raises(LogFenced):
                await append(log)
    async with open_file_log(path) as log:
        with monkeypatch.context() as broken:
            broken.setattr(CommitIndex, "set_recovered", fail)
            with pytest.raises(LogFenced):
                await recover(log)
    async with open_file_log(path) as log:
        assert await recover(log) == AT_20


async def _fail_to_sync(log: JsonlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _raise_eio)
        with pytest.raises(LogFenced):
            await recover(log)


def _raise_eio(_: int) -> None:
    raise OSError(errno.EIO, "broken")
