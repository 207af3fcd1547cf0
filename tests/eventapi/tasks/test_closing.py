"""The task that closes segments beside a server."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import NoReturn

import pytest

from eventapi.tasks import closing as task_module
from eventapi.tasks.closing import run_closing
from events.log.file import closing
from events.log.file import log as log_module
from events.log.file.closed import write_segment
from events.log.file.paths import closed_segments
from tests.events.log_helpers import append, open_file_log, read_all

SECONDS = 30


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(task_module, "RETRY_SECONDS", 0.0)


async def test_every_full_segment_is_closed_and_a_cancelled_task_leaves_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        running = asyncio.create_task(run_closing(log, 1))
        lines: list[bytes] = []
        async with asyncio.timeout(SECONDS):
            while len(closed_segments(path)) < 3:
                lines += await append(log, 100)
                await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await read_all(log) == lines
        assert not list(tmp_path.rglob("*.tmp"))


async def test_a_fence_ends_the_task_and_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an append whose sync failed; writes do not continue."""

    def fail(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "input/output error")

    async with open_file_log(tmp_path / "events.jsonl") as log:
        await append(log, 300)
        monkeypatch.setattr(log_module, "sync_directory", fail)
        fences: list[bool] = []
        async with asyncio.timeout(SECONDS):
            await run_closing(log, 1, lambda: fences.append(True))
    assert fences == [True]
    assert "a sync of the log failed" in caplog.text
    assert "no segment of the log" not in caplog.text


async def test_a_closing_that_fails_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    real, tries = write_segment, 0

    def fail(*arguments: object) -> NoReturn:
        nonlocal tries
        tries += 1
        if tries > 1:
            monkeypatch.setattr(closing, "write_segment", real)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(closing, "write_segment", fail)
    async with open_file_log(path) as log:
        lines = await append(log, 300)
        running = asyncio.create_task(run_closing(log, 1))
        async with asyncio.timeout(SECONDS):
            while not closed_segments(path):
                lines += await append(log)
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        lines += await append(log)
        assert await read_all(log) == lines
    assert tries == 2
    assert caplog.text.count("no segment of the log") == 2
