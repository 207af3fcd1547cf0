"""App factories for uvicorn: servers with a planted bug or a special condition.

The planted bugs are controls: a check that does not find the bug proves nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from unittest import mock

import msgspec
from litestar.types import ASGIApp

from eventapi import app
from eventapi.bootstrap import storage
from eventapi.http.request import ApiRequest
from eventapi.http.routes import events as feeds
from eventapi.journal import batch, journal
from eventapi.journal.clock import SystemUptime
from eventapi.tasks import closing
from events.log.file import closed, reserve
from events.log.file import log as jsonl
from events.log.file.closing import close_segments
from events.log.file.commit_index import CommitIndex
from events.log.port import Head
from projections.state import State

STALE_SECONDS = 0.05
SLOW_SYNC_SECONDS = 0.005
LINES_PER_FRAME = 16

FAULT_FILE = "fault"
"""A file in the data directory that names one of `CRASH_POINTS`; the first worker there dies."""

UPTIME_FILE = "uptime"
"""A file in the data directory with seconds to add to the machine's uptime."""

CRASH_POINTS = (
    "before the write",
    "half-written",
    "before the sync",
    "before the mark",
    "in the mark",
)


def plant(place: object, name: str, value: object) -> None:
    """Replace an attribute for the lifetime of the process."""
    mock.patch.object(place, name, value).start()


def stale_reads() -> ASGIApp:
    """Bug: reads check only now and then whether other workers have written."""

    class Stale(journal.Journal):
        _looked = 0.0

        async def state(self) -> State:
            if time.monotonic() < self._looked + STALE_SECONDS:
                return self._state
            self._looked = time.monotonic()
            return await super().state()

    plant(storage, "Journal", Stale)
    return app.create_app()


def quick_heartbeats() -> ASGIApp:
    """No bug: short heartbeats, because only a write reveals a closed stream."""
    plant(feeds, "HEARTBEAT_SECONDS", 0.25)
    return app.create_app()


def early_answers() -> ASGIApp:
    """Bug: writes are answered before they are appended; the disk is slow."""

    class Early(batch.Batch):
        def add(self, write: batch.PendingWrite) -> None:
            super().add(write)
            pending, answer = self.answers[-1]
            pending.answer(answer)

    class Slow(jsonl.JsonlLog):
        async def append(
            self, lines: Sequence[bytes], head: Head, *, revokes: bool = False
        ) -> None:
            await asyncio.sleep(SLOW_SYNC_SECONDS)
            await super().append(lines, head, revokes=revokes)

    plant(journal, "Batch", Early)
    plant(storage, "JsonlLog", Slow)
    return app.create_app()


def ignored_min_position() -> ASGIApp:
    """Bug: stale reads, even if the request has a Min-Event-Position."""

    async def state(request: ApiRequest) -> State:
        return await request.services.journal.state()

    plant(ApiRequest, "current_state", state)
    return stale_reads()


def no_lock() -> ASGIApp:
    """Bug: workers write without the log's lock."""
    plant(fcntl, "flock", lambda *_: None)
    return app.create_app()


def no_sync() -> ASGIApp:
    """Bug: the log is never synced."""
    plant(os, "fdatasync", lambda _: None)
    return app.create_app()


async def close_every_tile(log: jsonl.JsonlLog, _: int, timeout: float) -> bool:
    """Close segments below the least size of the setting."""
    return await close_segments(log, 1, timeout)


def closings_of_tiles() -> ASGIApp:
    """No bug: each tile of 256 lines becomes a segment, which every command can read."""
    plant(closing, "CHECK_INTERVAL_SECONDS", 0.05)
    plant(closing, "close_segments", close_every_tile)
    return app.create_app()


def frequent_closings() -> ASGIApp:
    """No bug: each tile of the log is closed soon after it is full."""
    plant(closing, "CHECK_INTERVAL_SECONDS", 0.05)
    plant(closing, "close_segments", close_every_tile)
    plant(closed, "LINES_PER_FRAME", LINES_PER_FRAME)
    return app.create_app()


def skewed_clocks() -> ASGIApp:
    """No bug: the workers' clocks differ by minutes and run backwards."""
    offset = os.getpid() % 7 * 60.0

    def now() -> str:
        moment = time.gmtime(4e9 + offset - time.time())
        return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", moment)

    environment = msgspec.structs.replace(storage.SYSTEM, now=now)
    return app.create_app(parts=storage.Overrides(runtime=environment))


def later_uptime() -> ASGIApp:
    """No bug: the machine's uptime is higher by the seconds in `UPTIME_FILE`."""
    uptime, more = SystemUptime(), Path(os.environ["EVENTAPI_DATA"]) / UPTIME_FILE

    def later() -> float:
        return uptime() + float(more.read_text())

    environment = msgspec.structs.replace(storage.SYSTEM, uptime=later)
    return app.create_app(parts=storage.Overrides(runtime=environment))


def crash_at_point() -> ASGIApp:
    """No bug: a worker that finds the fault file kills itself at that point."""
    pwrite, fdatasync, publish = os.pwrite, os.fdatasync, CommitIndex.publish

    def dying_pwrite(descriptor: int, data: bytes, offset: int) -> int:
        _crash_at("before the write")
        if _is_armed("half-written"):
            pwrite(
                descriptor, bytes(data)[:-5], offset
            )  # Half of two lines could be one complete line.
            _crash_at("half-written")
        return pwrite(descriptor, data, offset)

    def dying_fdatasync(descriptor: int) -> None:
        _crash_at("before the sync")
        fdatasync(descriptor)

    def dying_publish(mark: CommitIndex, offset: int, head: Head) -> None:
        _crash_at("before the mark")
        if _is_armed("in the mark"):
            mark._words = _CrashingWords()  # type: ignore[assignment]
        publish(mark, offset, head)

    plant(os, "pwrite", dying_pwrite)
    plant(os, "fdatasync", dying_fdatasync)
    plant(CommitIndex, "publish", dying_publish)
    return app.create_app()


class _CrashingWords:
    """The words of a mark; storing one crashes, after the slot was written."""

    def __getitem__(self, _: int) -> int:
        return 0

    def __setitem__(self, _: int, __: int) -> None:
        _crash_at("in the mark")


def _fault_file() -> Path:
    return Path(os.environ["EVENTAPI_DATA"], FAULT_FILE)


def _is_armed(point: str) -> bool:
    with suppress(FileNotFoundError):
        return _fault_file().read_text() == point
    return False


def _crash_at(point: str) -> None:
    if _is_armed(point):
        # Only one process can unlink the file, so the others survive the same fault.
        with suppress(FileNotFoundError):
            _fault_file().unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def no_reserve() -> ASGIApp:
    """Bug: no disk space is reserved for events that revoke rights."""
    plant(reserve.Reserve, "make", lambda *_: None)
    return app.create_app()
