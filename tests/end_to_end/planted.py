"""Servers with a planted bug each, and one with a hard life: the controls of the checks.

They are app factories for uvicorn. A check that does not find the bug proves nothing.
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
from events.log.file import log as jsonl
from events.log.file import reserve
from events.log.file.commit_index import CommitIndex
from events.log.port import Head
from projections.state import State

STALE_SECONDS = 0.05
SLOW_SYNC_SECONDS = 0.005

FAULT_FILE = "fault"
"""A file in the data directory that names a `FAULTS` point; who gets there first dies of it."""

UPTIME_FILE = "uptime"

FAULTS = ("before the write", "half-written", "before the sync", "before the mark", "in the mark")


def _plant(place: object, name: str, value: object) -> None:
    """Put something else in a name's place for as long as the process lives."""
    mock.patch.object(place, name, value).start()


def stale_reads() -> ASGIApp:
    """Reads look only now and then whether other workers have written."""

    class Stale(journal.Journal):
        _looked = 0.0

        async def state(self) -> State:
            if time.monotonic() < self._looked + STALE_SECONDS:
                return self._state
            self._looked = time.monotonic()
            return await super().state()

    _plant(storage, "Journal", Stale)
    return app.create_app()


def quick_heartbeats() -> ASGIApp:
    """No bug: a follower who has gone is noticed when they are next written to, so that is soon."""
    _plant(feeds, "HEARTBEAT_SECONDS", 0.25)
    return app.create_app()


def early_answers() -> ASGIApp:
    """Writes are answered before they are written, and the disk is slow."""

    class Early(batch.Batch):
        def add(self, wish: batch.PendingWrite) -> None:
            super().add(wish)
            journal._answer(*self.answers[-1])

    class Slow(jsonl.JsonlLog):
        async def append(
            self, lines: Sequence[bytes], head: Head, *, revokes: bool = False
        ) -> None:
            await asyncio.sleep(SLOW_SYNC_SECONDS)
            await super().append(lines, head, revokes=revokes)

    _plant(journal, "Batch", Early)
    _plant(storage, "JsonlLog", Slow)
    return app.create_app()


def unasked() -> ASGIApp:
    """As stale reads, also where a position of the log was asked for."""

    async def state(request: ApiRequest) -> State:
        return await request.services.journal.state()

    _plant(ApiRequest, "current_state", state)
    return stale_reads()


def no_lock() -> ASGIApp:
    """Workers do not keep each other from writing."""
    _plant(fcntl, "flock", lambda *_: None)
    return app.create_app()


def no_sync() -> ASGIApp:
    """Nothing is ever synced."""
    _plant(os, "fdatasync", lambda _: None)
    return app.create_app()


def skewed_clocks() -> ASGIApp:
    """No bug, but every worker's clock is minutes away from the others', and runs backwards."""
    offset = os.getpid() % 7 * 60.0

    def now() -> str:
        moment = time.gmtime(4e9 + offset - time.time())
        return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", moment)

    environment = msgspec.structs.replace(storage.SYSTEM, now=now)
    return app.create_app(parts=storage.Overrides(runtime=environment))


def later_uptime() -> ASGIApp:
    """No bug, but the machine has been up for as many seconds longer as a file of the data says."""
    uptime, more = SystemUptime(), Path(os.environ["EVENTAPI_DATA"]) / UPTIME_FILE

    def later() -> float:
        return uptime() + float(more.read_text())

    environment = msgspec.structs.replace(storage.SYSTEM, uptime=later)
    return app.create_app(parts=storage.Overrides(runtime=environment))


def mortal() -> ASGIApp:
    """No bug, but whoever finds the fault file while it writes dies at the point named there."""
    pwrite, fdatasync, publish = os.pwrite, os.fdatasync, CommitIndex.publish

    def dying_pwrite(descriptor: int, data: bytes, offset: int) -> int:
        _die_at("before the write")
        if _is_due("half-written"):
            pwrite(descriptor, bytes(data)[:-5], offset)  # Half of two lines may be one, whole.
            _die_at("half-written")
        return pwrite(descriptor, data, offset)

    def dying_fdatasync(descriptor: int) -> None:
        _die_at("before the sync")
        fdatasync(descriptor)

    def dying_publish(mark: CommitIndex, offset: int, head: Head) -> None:
        _die_at("before the mark")
        if _is_due("in the mark"):
            mark._words = _Deadly()  # type: ignore[assignment]
        publish(mark, offset, head)

    _plant(os, "pwrite", dying_pwrite)
    _plant(os, "fdatasync", dying_fdatasync)
    _plant(CommitIndex, "publish", dying_publish)
    return app.create_app()


class _Deadly:
    """The words of a mark, which cannot be written: the slot is, the word that is polled is not."""

    def __getitem__(self, _: int) -> int:
        return 0

    def __setitem__(self, _: int, __: int) -> None:
        _die_at("in the mark")


def _fault_file() -> Path:
    return Path(os.environ["EVENTAPI_DATA"], FAULT_FILE)


def _is_due(point: str) -> bool:
    with suppress(FileNotFoundError):
        return _fault_file().read_text() == point
    return False


def _die_at(point: str) -> None:
    if _is_due(point):
        # Unlinking succeeds for one process alone: nobody else dies of the same fault.
        with suppress(FileNotFoundError):
            _fault_file().unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def no_reserve() -> ASGIApp:
    """No room is kept for events that take rights away."""
    _plant(reserve.Reserve, "make", lambda *_: None)
    return app.create_app()
