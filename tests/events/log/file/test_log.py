"""The JSON-lines log: durability, full disks and failed syncs."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS
from events.errors import ConfigurationError, LogFenced, LogUnavailable, StorageFull
from events.io import files
from events.log.file import lines as lines_module
from events.log.file import log as jsonl
from events.log.file.commit_index import CommitIndex, read_commit_point
from events.log.file.log import JsonlLog
from events.log.file.paths import commit_index_path
from events.log.file.segments import SegmentedFile
from events.verification.verify import verify
from tests.events.log_helpers import (
    append,
    file_bytes,
    open_file_log,
    quarantined_tails,
    read_all,
    recover,
    some_lines,
)


def _fail_with(reason: int) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    return fail


# Durable before published


async def test_an_append_is_synced_before_it_is_published(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bytes, int]] = []
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        real(descriptor)
        synced.append((path.read_bytes(), read_commit_point(commit_index_path(path)).head.position))

    async with open_file_log(path) as log:
        first = await append(log, 2)
        monkeypatch.setattr(os, "fdatasync", sync)
        second = await append(log, 3)
        assert synced == [(file_bytes(first + second), 2)]
        assert log.position == 5


async def test_unpublished_lines_are_not_read(path: Path) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 2)
        with path.open("ab") as file:
            file.write(file_bytes(some_lines(1, log.head)[0]))
        assert (await read_all(log), log.position) == (lines, 2)


async def test_new_directories_are_synced_into_their_parents(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could remove the directory, and the log with it."""
    synced: list[Path] = []
    for module in (files, jsonl):
        monkeypatch.setattr(module, "sync_directory", synced.append)
    top = path.parent
    async with open_file_log(top / "a" / "b" / "events.jsonl"):
        assert synced == [top.parent, top, top / "a", top / "a" / "b"]


async def test_an_existing_directory_is_synced_because_its_creator_may_have_died_before_that(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    async with open_file_log(path):
        assert synced == [path.parent.parent]


async def test_any_range_is_read_by_the_offset_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "POSITIONS_PER_INDEX_ENTRY", 10)
    async with open_file_log(path) as log:
        lines = [line for _ in range(12) for line in await append(log, 4)]
        for after in (30, 0, 47, 9, 10, 11, -1, 25):
            for upto in (None, 3, 10, 31, 48):
                assert await read_all(log, after, upto) == lines[max(after, 0) : upto]


async def test_one_line_of_a_long_log_is_read_without_the_lines_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 5_000)
    async with open_file_log(path) as log:
        assert await read_all(log) == lines
        read = 0
        chunks = log._chunks

        def counted(file: SegmentedFile, start: int, end: int) -> AsyncGenerator[bytes, None]:
            nonlocal read
            read += end - start
            return chunks(file, start, end)

        monkeypatch.setattr(log, "_chunks", counted)
        for position in (1, 2, 257, 2_500, 4_999, 5_000):
            assert await read_all(log, position - 1, position) == [lines[position - 1]]
        assert read < 6 * 3 * lines_module.BYTES_PER_RUN < 6 * path.stat().st_size


# Full disks, and other failures of a write


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
async def test_a_failed_write_leaves_the_log_unchanged_and_writable(
    path: Path, monkeypatch: pytest.MonkeyPatch, written: int, reason: int, refusal: type[Exception]
) -> None:
    """Even if a part with whole lines was written."""
    real = os.pwrite

    def fill_up(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= end + written:
            raise OSError(reason, os.strerror(reason))
        return real(descriptor, data[:written], offset)

    async with open_file_log(path) as log, open_file_log(path) as other:
        lines = await append(log, 2)
        end = len(file_bytes(lines))
        with monkeypatch.context() as full:
            full.setattr(os, "pwrite", fill_up)
            with pytest.raises(refusal):
                await append(log, 3)
        assert path.read_bytes() == file_bytes(lines)
        assert (log.position, await read_all(other)) == (2, lines)
        lines += await append(log, 3)
        lines += await append(other, 1)
        assert await read_all(log) == lines
    assert quarantined_tails(path) == []


async def test_short_writes_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:7], offset))
    async with open_file_log(path) as log:
        lines = await append(log, 3)
    assert path.read_bytes() == file_bytes(lines)


async def test_control_a_short_write_that_reports_success_is_found_by_verify(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def lie(descriptor: int, data: bytes, offset: int) -> int:
        real(descriptor, data[:-7], offset)
        return len(data)

    monkeypatch.setattr(os, "pwrite", lie)
    async with open_file_log(path) as log:
        await append(log, 3)
    assert not verify(path, vocabulary=ITEMS).ok


async def test_an_unusable_directory_is_a_configuration_error(path: Path) -> None:
    path.write_bytes(b"")
    for unusable in (path / "events.jsonl", path.parent):
        with pytest.raises(ConfigurationError):
            JsonlLog(unusable)


# A failed sync


async def test_a_failed_sync_fences_every_open_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        lines = await append(log, 2)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail_with(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 1)
        for fenced in (log, other, log):
            with pytest.raises(LogFenced):
                await append(fenced, 1)
            assert await read_all(fenced) == lines


async def test_a_failed_sync_cannot_be_retried_under_the_same_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log, log.exclusive(1) as appender:
        lines, head = some_lines(1)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail_with(errno.EIO))
            with pytest.raises(LogFenced):
                await appender.append(lines, head)
        with pytest.raises(LogFenced):
            await appender.append(lines, head)
        assert log.position == 0


async def test_a_start_after_a_failed_sync_cuts_back_to_the_commit_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even whole lines, because the disk may lack what the kernel has."""
    async with open_file_log(path) as log:
        lines = await append(log, 2)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail_with(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 2)
        async with open_file_log(path) as fresh, open_file_log(path) as fresher:
            lost = path.read_bytes()[len(file_bytes(lines)) :]
            lines += await append(fresh, 1)
            lines += await append(fresher, 1)
            assert await read_all(log) == lines
            with pytest.raises(LogFenced):
                await append(log, 1)
    assert quarantined_tails(path) == [lost]
    assert verify(path, vocabulary=ITEMS).ok


async def test_a_start_after_a_failed_sync_rewrites_the_page_before_the_commit_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the beginning of the failed write, so the disk may have it torn."""
    written: list[tuple[bytes, int]] = []
    real = os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        written.append((bytes(data), offset))
        return real(descriptor, data, offset)

    async with open_file_log(path) as log:
        content = file_bytes(await append(log, 50))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail_with(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 2)
    monkeypatch.setattr(os, "pwrite", write)
    async with open_file_log(path) as log:
        await recover(log)
    assert written == [(content[-4096:], len(content) - 4096)]


async def test_control_without_the_fence_another_process_publishes_the_refused_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CommitIndex, "raise_fence", lambda *_, **__: None)
    async with open_file_log(path) as log, open_file_log(path) as other:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _fail_with(errno.EIO))
            with pytest.raises(LogFenced):
                await append(log, 2)
        assert (await recover(other)).position == 2


async def test_a_log_that_another_process_begins_during_an_opening_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for a lost one, whose mark is left."""
    exists, seen = Path.exists, []

    def exists_soon(found: Path) -> bool:
        has_begun = path in seen
        seen.append(found)
        return has_begun and exists(found)

    async with open_file_log(path) as log:
        lines = await append(log, 3)
    monkeypatch.setattr(Path, "exists", exists_soon)
    async with open_file_log(path) as log:
        assert await read_all(log) == lines
    assert seen.count(path) == 2
