"""The reserve of a log in a file: room that only events that take rights away may use."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from events.errors import StorageFull
from events.log.file.log import JsonlLog
from events.log.file.reserve import RESERVE_BYTES
from tests.events.log_helpers import open_file_log, read_all, some_lines
from tests.fault_injection.faults.disks import filled, memory_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

BLOCKS = RESERVE_BYTES // 512
LARGE = 8192
"""The size of a text that does not fit behind what is there already in a block."""


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


def run(work: Callable[[JsonlLog], Awaitable[None]], path: Path) -> None:
    async def with_log() -> None:
        async with open_file_log(path) as log:
            await work(log)

    asyncio.run(with_log())


def test_a_log_keeps_a_reserve_of_real_blocks_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    before = os.umask(0)
    try:
        run(append, path)
    finally:
        os.umask(before)
    kept = (tmp_path / "events.jsonl.reserve").stat()
    assert kept.st_blocks >= BLOCKS
    assert kept.st_mode & 0o777 == 0o600


def test_a_log_that_is_only_read_keeps_none(tmp_path: Path) -> None:
    async def read(log: JsonlLog) -> None:
        assert await read_all(log) == []

    run(read, tmp_path / "events.jsonl")
    assert not (tmp_path / "events.jsonl.reserve").exists()


@pytest.mark.root
def test_the_reserve_that_root_makes_has_the_owner_of_its_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, 12_346)
    run(append, tmp_path / "events.jsonl")
    kept = (tmp_path / "events.jsonl.reserve").stat()
    assert (kept.st_uid, kept.st_gid) == (12_345, 12_346)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_in_the_place_of_the_reserve_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    """Releasing the reserve would empty the file that the link leads to."""
    elsewhere = tmp_path / "elsewhere"
    if is_there:
        elsewhere.write_bytes(b"a letter")
    (tmp_path / "events.jsonl.reserve").symlink_to(elsewhere)
    run(append, tmp_path / "events.jsonl")
    assert elsewhere.exists() is is_there
    assert not is_there or elsewhere.read_bytes() == b"a letter"
    assert "no room can be kept in reserve" in caplog.text


@pytest.mark.root
def test_on_a_full_disk_only_events_that_take_rights_away_are_written(disk: Path) -> None:
    """And nothing else can take the room that they were given, in any process."""

    async def write(log: JsonlLog) -> None:
        await append(log)
        with filled(disk):
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

    run(write, disk / "events.jsonl")


@pytest.mark.root
def test_control_without_a_reserve_nothing_is_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.log.file.log.Reserve.make", lambda *_: None)

    async def write(log: JsonlLog) -> None:
        await append(log)
        with filled(disk):
            assert await is_refused(log, revokes=True)

    run(write, disk / "events.jsonl")


@pytest.mark.root
def test_a_reserve_that_is_used_up_refuses_all_until_there_is_room(disk: Path) -> None:
    async def write(log: JsonlLog) -> None:
        await append(log)
        with filled(disk):
            while not await is_refused(log, revokes=True):
                pass
            assert await is_refused(log, size=1)
        await append(log, revokes=True)
        await append(log)

    run(write, disk / "events.jsonl")


@pytest.mark.root
def test_a_log_that_starts_on_a_full_disk_keeps_its_reserve_once_there_is_room(disk: Path) -> None:
    path, reserve = disk / "events.jsonl", disk / "events.jsonl.reserve"
    run(append, path)
    reserve.unlink()

    async def write(log: JsonlLog) -> None:
        with filled(disk):
            assert await is_refused(log, size=1)
        await append(log)

    run(write, path)
    assert reserve.stat().st_blocks >= BLOCKS


def test_a_reserve_that_was_copied_without_its_blocks_gets_them_again(tmp_path: Path) -> None:
    reserve = tmp_path / "events.jsonl.reserve"
    with reserve.open("wb") as file:
        file.truncate(RESERVE_BYTES)
    run(append, tmp_path / "events.jsonl")
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
def test_where_no_reserve_can_be_kept_writing_goes_on_without(
    disk: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(log: JsonlLog) -> None:
        await append(log)
        with filled(disk):
            assert await is_refused(log)
            assert await is_refused(log, revokes=True)
        await append(log)

    with failing("posix_fallocate", number, monkeypatch):
        run(write, disk / "events.jsonl")
    assert "no room can be kept in reserve" in caplog.text


def test_the_reserve_is_given_to_others_once(tmp_path: Path) -> None:
    async def give(log: JsonlLog) -> None:
        assert not await log.release_reserve()
        await append(log)
        assert await log.release_reserve()
        assert not await log.release_reserve()
        await append(log)
        assert await log.release_reserve()

    run(give, tmp_path / "events.jsonl")
