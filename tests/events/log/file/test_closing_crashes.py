"""A crash, a full disk or a failed call at any step of a closing loses nothing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace

from eventapi.testing.items import ITEMS
from events.errors import LogFenced, MissingEvents
from events.io import files
from events.log.file import closed, closing
from events.log.file import log as log_module
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.paths import SUFFIX, closed_segments
from events.log.file.segments import SegmentedFile
from events.verification.verify import verify
from tests.events.log.file.test_segments import open_reader, whole
from tests.events.log_helpers import (
    TILE,
    append,
    file_bytes,
    open_file_log,
    quarantined_tails,
    read_all,
)

CALLS: tuple[tuple[Any, str], ...] = (
    (files, "make_file"),
    (os, "fsync"),
    (os, "fdatasync"),
    (Path, "rename"),
    (Path, "unlink"),
)
"""The calls that change what a restart finds."""


class DiedError(BaseException):
    """The process ended: no later call does anything."""


pytestmark = pytest.mark.usefixtures("small_tiles")


@contextmanager
def calls(on_call: Callable[[str, object, Callable[[], object]], object]) -> Iterator[None]:
    """Pass each of the calls to a function, with its name, its argument and the call."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name in CALLS:
            real = getattr(place, name)

            def call(*args: Any, real: Any = real, name: str = name, **named: Any) -> object:
                return on_call(name, args[0], lambda: real(*args, **named))

            patch.setattr(place, name, call)
            if name == "make_file":
                for user in (closed, closing):
                    patch.setattr(user, name, call)
        yield


async def close_until(path: Path, step: int, *, is_done: bool) -> bool:
    """Close in a process that dies before or after a call; return whether it got so far."""
    count, is_dead = 0, False

    def die_at_step(_: str, __: object, call: Callable[[], object]) -> object:
        nonlocal count, is_dead
        count += 1
        if is_dead or (count == step and not is_done):
            is_dead = True
            raise DiedError
        result = call()
        if count == step:
            is_dead = True
            raise DiedError
        return result

    log = JsonlLog(path)
    try:
        with calls(die_at_step):
            await close_segments(log, 1_200, 5)
    except DiedError:
        return True
    finally:
        await log.close()
    return False


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_at_any_step_loses_nothing_and_the_next_closing_ends_it(
    tmp_path: Path, *, is_done: bool
) -> None:
    step, is_reached = 0, True
    while is_reached:
        step += 1
        path = tmp_path / f"{step}" / "events.jsonl"
        async with open_file_log(path) as log:
            lines = await append(log, 30)
        is_reached = await close_until(path, step, is_done=is_done)
        async with open_reader(path) as reader:
            assert await read_all(reader) == lines
        assert verify(path, vocabulary=ITEMS, processes=1).ok
        async with open_file_log(path) as log:
            lines += await append(log, 9)
            assert await read_all(log) == lines
            assert await close_segments(log, 1_200, 5)
            lines += await append(log, 1)
            assert await read_all(log) == lines
        assert not list(path.parent.rglob("*.tmp"))
        assert whole(path) == file_bytes(lines)
    assert step > 12


async def test_a_segment_is_durable_before_its_lines_leave_the_open_file(path: Path) -> None:
    """Otherwise a power cut could keep the shorter file, and lose the segment."""
    seen: list[tuple[str, str]] = []

    def record(name: str, target: object, call: Callable[[], object]) -> object:
        if isinstance(target, int):
            target = Path(f"/proc/self/fd/{target}").readlink()
        seen.append((name, Path(str(target)).name))
        return call()

    async with open_file_log(path) as log:
        await append(log, 2 * TILE)
        with calls(record):
            assert await close_segments(log, 1, 5)
    order = [
        ("fsync", "0000000000000001.tmp"),
        ("rename", "0000000000000001.tmp"),
        ("fsync", "events.jsonl.segments"),
        ("fsync", "events.jsonl.next.tmp"),
        ("rename", "events.jsonl.next.tmp"),
        ("fsync", path.parent.name),
    ]
    places = [max(at for at, one in enumerate(seen) if one == step) for step in order]
    assert places == sorted(places), seen


@pytest.mark.parametrize("is_control", [False, True])
async def test_a_segment_that_a_crash_left_is_compared_before_it_is_used(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_control: bool,
) -> None:
    """Control: without the comparison, its lines take the place of those of the log."""
    async with open_file_log(path) as log:
        lines = await append(log, 3 * TILE)
        left = closed.segment_path(path.with_name("events.jsonl.segments"), 1, TILE)
        left.parent.mkdir()
        other = [line.replace(b"items", b"stems") for line in lines[:TILE]]
        closed.write_segment(left, [file_bytes(other)], 0o600)
        content = left.read_bytes()
        assert await read_all(log) == lines
        if is_control:
            monkeypatch.setattr(closing, "_compare", _believe)
        assert await close_segments(log, 1, 5)
        await append(log)
        found = await read_all(log, 0, 3 * TILE)
    assert found == ([*other, *lines[TILE:]] if is_control else lines)
    # It may be the only copy of events that were acknowledged.
    assert quarantined_tails(path) == ([] if is_control else [content])
    assert ("it was moved to" in caplog.text) != is_control


def _believe(segment: closed.ClosedSegment, _: object, before: Any, __: object) -> Any:
    return replace(before, position=segment.last, end=segment.end)


async def test_a_segment_that_a_crash_left_and_a_sync_failed_for_is_written_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync its pages are clean: the next sync would succeed, and write nothing."""

    def fail_for_segments(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(SUFFIX):
            fail()
        sync(descriptor)

    sync = os.fsync
    async with open_file_log(path) as log:
        lines = await append(log, 3 * TILE)
        left = closed.segment_path(path.with_name("events.jsonl.segments"), 1, TILE)
        left.parent.mkdir()
        closed.write_segment(left, [file_bytes(lines[:TILE])], 0o600)
        unsynced = path.with_name("unsynced")
        unsynced.hardlink_to(left)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fail_for_segments)
            with pytest.raises(OSError, match="no space left"):
                await close_segments(log, 1, 5)
        assert path.read_bytes() == file_bytes(lines)
        assert await close_segments(log, 1, 5)
        assert closed_segments(path)
        assert not any(segment.samefile(unsynced) for segment in closed_segments(path))
        assert await read_all(log) == lines


async def test_a_segment_that_is_written_wrong_is_not_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read back, and compared with the lines, before it gets its name."""
    write = closed.write_segment

    def write_wrong(to: Path, tiles: Iterator[bytes], mode: int) -> int:
        count = write(to, tiles, mode)
        content = bytearray(to.read_bytes())
        content[len(content) // 3] ^= 1
        to.write_bytes(content)
        return count

    async with open_file_log(path) as log:
        lines = await append(log, 30)
        with monkeypatch.context() as broken:
            broken.setattr(closing, "write_segment", write_wrong)
            with pytest.raises(OSError, match=r"0000000000000001\.tmp is not what was written"):
                await close_segments(log, 1, 5)
        assert path.read_bytes() == file_bytes(lines)
        assert not closed_segments(path)
        assert not list(path.parent.rglob("*.tmp"))
        assert await close_segments(log, 1, 5)
        assert await read_all(log) == lines


async def test_control_without_the_lines_appended_meanwhile_events_are_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the open file is copied before the lock is acquired."""
    copy_rest = closing._copy_rest

    def copy_some(file: SegmentedFile, start: int, stop: threading.Event) -> None:
        copy_rest(file, start, stop)
        os.truncate(closing._replacement_path(path), len(lines[16]) + 1)

    async with open_file_log(path) as log:
        lines = await append(log, 17 + TILE)
        monkeypatch.setattr(closing, "_copy_rest", copy_some)
        assert await close_segments(log, len(file_bytes(lines[:16])), 5)
        assert await read_all(log) == lines
        lines += await append(log, 14)
        monkeypatch.setattr(JsonlLog, "cut", lambda _, copied, __: copied.rename(path))
        assert await close_segments(log, 1, 5)
        async with open_reader(path) as reader:
            with pytest.raises(MissingEvents):
                await read_all(reader)


# A full disk


def fail(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "no space left")


async def test_a_closing_without_room_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 30)
        with monkeypatch.context() as full:
            full.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=500, f_frsize=4096))
            with pytest.raises(OSError, match="bytes on the disk"):
                await close_segments(log, 1, 5)
        assert path.read_bytes() == file_bytes(lines)
        assert not list(path.with_name("events.jsonl.segments").iterdir())
        assert await close_segments(log, 1, 5)


@pytest.mark.parametrize(
    ("place", "name"), [(closing, "write_segment"), (closing, "_copy_rest"), (Path, "rename")]
)
async def test_a_disk_that_is_full_at_a_step_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 30)
        with monkeypatch.context() as full:
            full.setattr(place, name, fail)
            with pytest.raises(OSError, match="no space left"):
                await close_segments(log, 1, 5)
        assert path.read_bytes() == file_bytes(lines)
        assert not list(path.parent.rglob("*.tmp"))
        lines += await append(log)
        assert await close_segments(log, 1, 5)
        assert await read_all(log) == lines


async def test_a_name_that_cannot_be_synced_stops_all_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, the old file could be back without what was appended since."""
    async with open_file_log(path) as log, open_file_log(path) as other:
        lines = await append(log, 30)
        with monkeypatch.context() as broken:
            broken.setattr(log_module, "sync_directory", fail)
            with pytest.raises(LogFenced):
                await close_segments(log, 1, 5)
        for one in (log, other):
            with pytest.raises(LogFenced):
                await append(one)
    async with open_file_log(path) as log:
        lines += await append(log)
        assert await read_all(log) == lines
