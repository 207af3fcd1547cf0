"""System calls that fail around a write: no durable write is reported as failed."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from events.errors import LogUnavailable
from events.log.file.log import JsonlLog
from tests.events.log_helpers import append, open_file_log, read_all


def fail(*_: object) -> None:
    raise OSError(errno.EIO, "broken")


def failing_flock(operation: int) -> Callable[[int, int], None]:
    """Make a flock of which one operation fails."""
    real = fcntl.flock

    def flock(descriptor: int, requested: int) -> None:
        if requested & operation:
            fail()
        real(descriptor, requested)

    return flock


async def test_a_failed_unlock_does_not_fail_the_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is durable and published by then: an error would make the client repeat it."""
    async with open_file_log(path) as log:
        with monkeypatch.context() as broken:
            broken.setattr(fcntl, "flock", failing_flock(fcntl.LOCK_UN))
            lines = await append(log)
        assert await read_all(log) == lines
        assert "was not released" in caplog.text
        lines += await append(log)
        async with open_file_log(path) as other:
            assert await read_all(other) == lines
            await append(other)


async def test_a_failed_lock_makes_the_log_unavailable_and_releases_the_turnstile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        with monkeypatch.context() as broken:
            broken.setattr(fcntl, "flock", failing_flock(fcntl.LOCK_EX))
            with pytest.raises(LogUnavailable):
                await append(log)
        await append(other)
        await append(log)


@pytest.mark.parametrize("call", ["fstat", "pread"])
async def test_a_failed_call_makes_the_log_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async with open_file_log(path) as log:
        lines = await append(log)
        with monkeypatch.context() as broken:
            broken.setattr(os, call, fail)
            with pytest.raises(LogUnavailable):
                await (append(log) if call == "fstat" else read_all(log))
        assert await read_all(log) == lines


async def test_a_failed_sync_of_the_commit_index_on_close_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = False

    class Page(mmap.mmap):
        def flush(self, *_: int) -> None:
            if failing:
                fail()

    with monkeypatch.context() as broken:
        broken.setattr(mmap, "mmap", Page)
        log = JsonlLog(path)
    lines = await append(log)
    failing = True
    await log.close()
    assert "the mark was not synced" in caplog.text
    async with open_file_log(path) as again:
        assert await read_all(again) == lines
