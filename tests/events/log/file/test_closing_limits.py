"""A closing needs bounded room, memory and time under the lock, and keeps who may read."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from eventapi.testing.items import ITEMS
from events.errors import ConfigurationError, DamagedLog, LogFenced
from events.log.file import closed, closing
from events.log.file.closing import close_segments
from events.log.file.commit_index import CommitIndex, read_commit_point
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments, segments_path
from events.log.file.reader import JsonlReader
from events.log.file.segments import SegmentedFile
from events.verification.scan import ScanOptions, scan
from tests.events.log.file.test_closing_crashes import calls
from tests.events.log.file.test_segments import closed_log, open_reader
from tests.events.log_helpers import (
    TILE,
    append,
    file_bytes,
    mark_of,
    open_file_log,
    publish,
    quarantined_tails,
    read_all,
    recover,
    some_lines,
)

pytestmark = pytest.mark.usefixtures("small_tiles")


def set_free_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let the disk have this room besides the margin."""
    free = SimpleNamespace(f_bavail=size + closing._MARGIN_BYTES, f_frsize=1)
    monkeypatch.setattr(os, "statvfs", lambda _: free)


async def test_room_for_all_segments_is_checked_before_the_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that an interrupted closing left are part of it."""
    async with open_file_log(path) as log:
        lines = await append(log, 30)
        size = path.stat().st_size
        set_free_bytes(monkeypatch, size - 1)
        with pytest.raises(OSError, match="bytes on the disk"):
            await close_segments(log, 1_500, 5)
        assert not closed_segments(path)
        tile = file_bytes(lines[:TILE])
        left = closed.segment_path(segments_path(path), 1, TILE)
        closed.write_segment(left, [tile], 0o600)
        set_free_bytes(monkeypatch, size - left.stat().st_size)
        assert await close_segments(log, len(tile), 5)
        assert await read_all(log) == lines


async def test_lines_appended_while_the_rest_is_copied_are_copied_before_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 28)
        earlier = read_commit_point(mark_of(path))
        lines += await append(log, 2)
        seen = iter([read_commit_point(mark_of(path)), earlier])
        monkeypatch.setattr(closing, "_FEW_BYTES", 0)
        monkeypatch.setattr(
            closing, "read_commit_point", lambda mark: next(seen, read_commit_point(mark))
        )
        copied: list[int] = []
        cut = JsonlLog.cut

        def record(self: JsonlLog, replacement: Path, offset: int) -> None:
            copied.append(offset + replacement.stat().st_size)
            cut(self, replacement, offset)

        monkeypatch.setattr(JsonlLog, "cut", record)
        assert await close_segments(log, len(file_bytes(lines[:8])), 5)
        assert copied == [len(file_bytes(lines))]
        assert await read_all(log) == lines


async def test_dirty_bytes_are_synced_while_a_segment_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other files' syncs may wait for all of them."""
    monkeypatch.setattr(closed, "_SYNCED_BYTES", 100)
    synced: list[str] = []

    def record(name: str, _: object, call: object) -> object:
        synced.append(name)
        return call() if callable(call) else None

    path.parent.mkdir(exist_ok=True)
    with calls(record):
        closed.write_segment(path, [bytes(range(200)), bytes(range(250))], 0o600)
    assert synced.count("fdatasync") == 2


async def test_a_segment_that_was_there_is_synced_before_it_is_used(path: Path) -> None:
    """Another program may have just copied it."""
    async with open_file_log(path) as log:
        lines = await append(log, 2 * TILE)
        left = closed.segment_path(segments_path(path), 1, TILE)
        left.parent.mkdir()
        closed.write_segment(left, [file_bytes(lines[:TILE])], 0o600)
        synced: set[Path] = set()

        def record(name: str, target: object, call: object) -> object:
            if name == "fsync":
                synced.add(Path(f"/proc/self/fd/{target}").readlink())
            return call() if callable(call) else None

        with calls(record):
            assert await close_segments(log, 1, 5)
        assert left in synced


async def test_users_who_may_read_the_log_may_read_its_segments(path: Path) -> None:
    async with open_file_log(path) as log:
        await append(log, 30)
        path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(path, 1234, 1235)
        before = path.stat()
        assert await close_segments(log, 1, 5)
        directory = segments_path(path)
        for one in (path, directory, *closed_segments(path)):
            found = one.stat()
            assert (found.st_uid, found.st_gid) == (before.st_uid, before.st_gid)
            assert found.st_mode & 0o777 == (0o750 if one == directory else 0o640)


async def test_a_directory_that_may_not_be_read_is_not_taken_for_an_empty_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await closed_log(path)

    def refuse(directory: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr(Path, "iterdir", refuse)
    for opening in (JsonlLog, JsonlReader):
        with pytest.raises(ConfigurationError, match="Permission denied"):
            opening(path)


# Files that change or are wrong


async def test_a_frame_larger_than_its_lines_can_be_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await closed_log(path)
    closed._cached_size.cache_clear()
    closed._cached_table.cache_clear()
    monkeypatch.setattr(closed, "MAX_LINE_BYTES", 9)
    with pytest.raises(DamagedLog, match="larger than its lines"):
        JsonlReader(path)


async def test_a_segment_replaced_by_a_smaller_one_is_damaged(path: Path) -> None:
    lines = await closed_log(path)
    segment = closed_segments(path)[0]
    count = int(segment.name[17:33]) // TILE
    async with open_reader(path) as reader:
        segment.unlink()
        closed.write_segment(segment, [b"{}\n" * TILE] * count, 0o600)
        with pytest.raises(DamagedLog, match="replaced by another file"):
            await read_all(reader)
    assert len(lines) == 30


async def test_a_failed_comparison_leaves_no_file_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise DamagedLog("it cannot be read", position=1, offset=0)

    async with open_file_log(path) as log, open_file_log(path) as other:
        await append(log, 30)
        assert await close_segments(other, 1, 5)
        count = len(list(Path("/proc/self/fd").iterdir()))
        monkeypatch.setattr(SegmentedFile, "has", fail)
        with pytest.raises(DamagedLog):
            log._file.successor(read_commit_point(mark_of(path)), os.O_RDWR)
        assert len(list(Path("/proc/self/fd").iterdir())) == count


async def test_the_fence_names_the_segment_that_is_missing(path: Path) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        await append(log, 30)
        assert await close_segments(other, 1, 5)
        segment = closed_segments(path)[0]
        segment.unlink()
        with pytest.raises(LogFenced) as refused:
            await append(log)
        assert str(segment) in str(refused.value)


async def test_a_mark_older_than_the_segments_moves_nothing_after_a_failed_sync(
    path: Path,
) -> None:
    lines = await closed_log(path)
    mark_of(path).unlink()
    published, head = some_lines(5)
    assert published == lines[:5]
    publish(path, published, head)
    index = CommitIndex(mark_of(path))
    index.raise_fence()
    index.close()
    content = path.read_bytes()
    async with open_file_log(path) as log:
        with pytest.raises(DamagedLog):
            await recover(log)
    assert path.read_bytes() == content
    assert not quarantined_tails(path)


async def test_a_scan_ends_at_a_segment_that_is_damaged_meanwhile(path: Path) -> None:
    await closed_log(path)
    size = read_commit_point(mark_of(path)).offset
    segment = closed_segments(path)[0]
    segment.write_bytes(segment.read_bytes()[:-1])
    assert not list(scan(path, size, ScanOptions(ITEMS)))
