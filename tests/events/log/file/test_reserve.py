"""The reserve of a log in a file: disk space for events that take rights away."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from events.errors import StorageFull
from events.log.file.log import JsonlLog
from events.log.file.reserve import RESERVE_BYTES
from tests.events.log_helpers import open_file_log, read_all, some_lines
from tests.fault_injection.faults.disks import full_disk, memory_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

BLOCKS = RESERVE_BYTES // 512
LARGE = 8192
"""The size of a text that does not fit into the rest of a block of the file system."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    with memory_disk(tmp_path / "disk", "4m") as place:
        yield place


async def append(log: JsonlLog, *, revokes: bool = False, size: int = LARGE) -> None:
    async with log.exclusive(5) as appender:
        appender.keep_reserve()
        lines, head = some_lines(1, appender.head, size=size)
        await appender.append(lines, head, revokes=revokes)


async def is_refused(log: JsonlLog, *, revokes: bool = False, size: int = LARGE) -> bool:
    try:
        await append(log, revokes=revokes, size=size)
    except StorageFull:
        return True
    return False


async def append_one(path: Path) -> None:
    """Open the log, append a line to it, and close it."""
    async with open_file_log(path) as log:
        await append(log)


async def test_the_reserve_has_real_blocks_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    before = os.umask(0)
    try:
        await append_one(path)
    finally:
        os.umask(before)
    kept = (tmp_path / "events.jsonl.reserve").stat()
    assert kept.st_blocks >= BLOCKS
    assert kept.st_mode & 0o777 == 0o600


async def test_reading_a_log_makes_no_reserve(tmp_path: Path) -> None:
    async with open_file_log(tmp_path / "events.jsonl") as log:
        assert await read_all(log) == []
    assert not (tmp_path / "events.jsonl.reserve").exists()


@pytest.mark.root
async def test_a_reserve_created_by_root_gets_the_owner_of_its_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, 12_346)
    await append_one(tmp_path / "events.jsonl")
    kept = (tmp_path / "events.jsonl.reserve").stat()
    assert (kept.st_uid, kept.st_gid) == (12_345, 12_346)


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_link_in_place_of_the_reserve_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    """Releasing the reserve would empty the file that the link leads to."""
    elsewhere = tmp_path / "elsewhere"
    if is_there:
        elsewhere.write_bytes(b"a letter")
    (tmp_path / "events.jsonl.reserve").symlink_to(elsewhere)
    await append_one(tmp_path / "events.jsonl")
    assert elsewhere.exists() is is_there
    assert not is_there or elsewhere.read_bytes() == b"a letter"
    assert "the reserve of disk space cannot be created" in caplog.text


@pytest.mark.root
async def test_on_a_full_disk_only_events_that_take_rights_away_are_written(disk: Path) -> None:
    """No other event of any process can use the released room."""
    async with open_file_log(disk / "events.jsonl") as log:
        await append(log)
        with full_disk(disk):
            assert await is_refused(log)
            await append(log, revokes=True)
            async with open_file_log(log.path) as other:
                for one in (log, other):
                    assert await is_refused(one, size=1)
                    await append(one, revokes=True)
            assert len(await read_all(log)) == 4
        await append(log)
        assert (disk / "events.jsonl.reserve").stat().st_blocks >= BLOCKS
        assert len(await read_all(log)) == 5


async def has_room(log: JsonlLog) -> bool:
    try:
        async with log.exclusive(5) as appender:
            appender.keep_reserve()
            await appender.append((), appender.head)
    except StorageFull:
        return False
    return True


@pytest.mark.root
async def test_a_check_finds_out_that_the_disk_is_full_and_takes_no_room(disk: Path) -> None:
    async with open_file_log(disk / "events.jsonl") as log:
        await append(log)
        size = (disk / "events.jsonl.reserve").stat().st_size
        for _ in range(3):
            assert await has_room(log)
        with full_disk(disk):
            for _ in range(3):
                assert not await has_room(log)
            await append(log, revokes=True)
            assert not await has_room(log)
        assert await has_room(log)
        assert (disk / "events.jsonl.reserve").stat().st_size == size == RESERVE_BYTES


@pytest.mark.root
async def test_control_without_a_reserve_no_event_is_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.log.file.log.Reserve.make", lambda *_: None)
    async with open_file_log(disk / "events.jsonl") as log:
        await append(log)
        with full_disk(disk):
            assert await is_refused(log, revokes=True)


@pytest.mark.root
async def test_a_used_up_reserve_refuses_every_event_until_there_is_room(disk: Path) -> None:
    async with open_file_log(disk / "events.jsonl") as log:
        await append(log)
        with full_disk(disk):
            while not await is_refused(log, revokes=True):
                pass
            assert await is_refused(log, size=1)
        await append(log, revokes=True)
        await append(log)


@pytest.mark.root
async def test_a_log_opened_on_a_full_disk_makes_its_reserve_once_there_is_room(disk: Path) -> None:
    path, reserve = disk / "events.jsonl", disk / "events.jsonl.reserve"
    await append_one(path)
    reserve.unlink()
    async with open_file_log(path) as log:
        with full_disk(disk):
            assert await is_refused(log, size=1)
        await append(log)
    assert reserve.stat().st_blocks >= BLOCKS


async def test_a_sparse_copy_of_a_reserve_gets_its_blocks_again(tmp_path: Path) -> None:
    reserve = tmp_path / "events.jsonl.reserve"
    with reserve.open("wb") as file:
        file.truncate(RESERVE_BYTES)
    await append_one(tmp_path / "events.jsonl")
    assert reserve.stat().st_blocks >= BLOCKS


@contextmanager
def failing(name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(f"events.log.file.reserve.os.{name}", fail)
        yield


@pytest.mark.root
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EFBIG, errno.EIO])
async def test_without_support_for_a_reserve_events_are_still_written(
    disk: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("posix_fallocate", number, monkeypatch):
        async with open_file_log(disk / "events.jsonl") as log:
            await append(log)
            with full_disk(disk):
                assert await is_refused(log)
                assert await is_refused(log, revokes=True)
            await append(log)
    assert "the reserve of disk space cannot be created" in caplog.text


async def test_the_reserve_is_released_once_until_the_next_append(tmp_path: Path) -> None:
    async with open_file_log(tmp_path / "events.jsonl") as log:
        assert not await log.release_reserve()
        await append(log)
        assert await log.release_reserve()
        assert not await log.release_reserve()
        await append(log)
        assert await log.release_reserve()
