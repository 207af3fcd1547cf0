"""Recovery that fails in the middle: the next one does it, and nothing is lost or made up."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from events.errors import LogFenced, StorageFull
from events.log.jsonl import JsonlLog
from events.log.mark import Mark
from tests.events.stories import (
    everything,
    in_event_loop,
    joined,
    opened,
    publish,
    quarantined,
    recover,
    some_lines,
)

LINES, _ = some_lines(30)
AT_20 = some_lines(20)[1]
AT_25 = some_lines(25)[1]


class _PowerCutError(BaseException):
    """The process is gone at this very call."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def _lay(path: Path, content: bytes) -> None:
    """A log file with that content, of which 20 lines are published."""
    path.write_bytes(content)
    publish(path, LINES[:20], AT_20)


@in_event_loop
async def test_a_tail_is_durable_in_the_quarantine_before_it_is_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object) -> object:
            calls.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, call)

    _lay(path, joined(LINES[:20]) + b"torn")
    (path.parent / "quarantine").mkdir()
    async with opened(path) as log:
        for name in ("fsync", "rename", "ftruncate", "fdatasync"):
            note(name)
        await recover(log)
    assert calls == ["fsync", "rename", "fsync", "ftruncate", "fdatasync"]


@pytest.mark.parametrize("call", ["fsync", "ftruncate", "fdatasync"])
@in_event_loop
async def test_a_recovery_that_is_itself_cut_short_is_done_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def die(*_: object) -> None:
        raise _PowerCutError

    _lay(path, joined(LINES[:25]) + b"torn")
    async with opened(path) as log:
        with monkeypatch.context() as power:
            power.setattr(os, call, die)
            with pytest.raises(_PowerCutError):
                await recover(log)
        assert path.read_bytes().startswith(joined(LINES[:25]))
        assert log.position == 20
    async with opened(path) as log:
        assert await recover(log) == AT_25
        assert await everything(log) == LINES[:25]
    assert b"torn" in quarantined(path)


@in_event_loop
async def test_a_recovery_without_room_for_the_quarantine_changes_nothing_until_there_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    content = joined(LINES[:25]) + b"torn"
    _lay(path, content)
    async with opened(path) as log:
        with monkeypatch.context() as full:
            full.setattr("events.log.jsonl.write_durably", fill_up)
            with pytest.raises(StorageFull):
                await recover(log)
        assert path.read_bytes() == content
        assert await everything(log) == LINES[:20]
        assert await recover(log) == AT_25


@pytest.mark.parametrize("content", [joined(LINES), joined(LINES[:25]) + b"torn"])
@in_event_loop
async def test_a_sync_that_fails_in_recovery_has_no_second_try_either(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """The second would be called a success, and publish what is not on the disk."""
    _lay(path, content)
    async with opened(path) as log:
        await _fail_to_sync(log, monkeypatch)
        with pytest.raises(LogFenced):
            await recover(log)
        assert log.position == 20
    async with opened(path) as log:
        assert await recover(log) == AT_20


@in_event_loop
async def test_a_mark_that_cannot_be_synced_after_a_failed_sync_is_another_failed_sync(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Mark) -> None:
        raise OSError(errno.EIO, "broken")

    _lay(path, joined(LINES))
    async with opened(path) as log:
        await _fail_to_sync(log, monkeypatch)
    async with opened(path) as log:
        with monkeypatch.context() as broken:
            broken.setattr(Mark, "set_recovered", fail)
            with pytest.raises(LogFenced):
                await recover(log)
    async with opened(path) as log:
        assert await recover(log) == AT_20


async def _fail_to_sync(log: JsonlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(LogFenced):
            await recover(log)
