"""A server whose worker is stopped (SIGSTOP), with or without the log's lock.

Backward clocks and SIGTERM under load are in tests/end_to_end/test_workers.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.end_to_end.client import Answer
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.strace import needs_strace, traced
from tests.end_to_end.user_client import SECONDS, ApiUser, registered_user, write_until_accepted

STOP_AT_THE_SYNC = ("trace=fdatasync", "inject=fdatasync:signal=STOP:when=1")
"""By then the write has begun and the lock is held."""

LOCK_SECONDS = 5.0
"""How long a write waits for the lock."""

AT_MOST_SECONDS = 3.0
"""Tolerance for a busy machine."""

STOPPED = "--- stopped by SIGSTOP ---"
"""The line that strace prints for a thread stopped by SIGSTOP."""


async def until_stopped(calls: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while STOPPED not in calls.read_text():
        assert time.monotonic() < deadline, "the worker was not stopped"
        await asyncio.sleep(0.01)


@needs_strace
def test_worker_stopped_with_the_lock_blocks_writes_only(data: Path) -> None:
    """Others answer writes with 503 in bounded time, and reads as usual."""

    async def run(server: Server) -> None:
        async with registered_user(server) as user:
            stopped, other = await user.at_each_worker(server)
            assert (await other.write("before")).status == 200
            calls = data.with_name("calls")
            with traced(stopped.worker, calls, *STOP_AT_THE_SYNC, only=server.log):
                blocked = asyncio.create_task(stopped.write("blocked"))
                try:
                    await until_stopped(calls)
                    answer = await _refused_in_time(other)
                    assert await other.titles() == ["before"]
                finally:
                    os.kill(stopped.worker, signal.SIGCONT)
                assert answer.headers["retry-after"] == "1"
                assert (await blocked).status == 200
            assert (await other.write("after")).status == 200
            for worker in (stopped, other):
                assert await worker.titles() == ["before", "blocked", "after"]

    with Server(data, 2, by_serve) as server:
        asyncio.run(run(server))
        assert server.stop() == 0
    assert not read_log(server.log).faults


async def _refused_in_time(user: ApiUser) -> Answer:
    """A write while another worker holds the lock."""
    began = time.monotonic()
    answer = await user.write("refused")
    assert time.monotonic() - began < LOCK_SECONDS + AT_MOST_SECONDS
    assert (answer.status, answer.json()["type"]) == (503, "/problems/log-unavailable"), answer
    return answer


def test_stopped_worker_catches_up_when_it_continues(data: Path) -> None:
    """It holds no lock, so no other worker waits, and it answers nothing outdated."""

    async def run(server: Server) -> None:
        async with registered_user(server) as user:
            stopped, other = await user.at_each_worker(server)
            os.kill(stopped.worker, signal.SIGSTOP)
            try:
                assert (await other.write("written by another")).status == 200
                reading = asyncio.create_task(stopped.titles())
                await asyncio.sleep(0.2)
                assert not reading.done()
            finally:
                os.kill(stopped.worker, signal.SIGCONT)
            assert await reading == ["written by another"]
            await write_until_accepted(server, user, "after")

    with Server(data, 2, by_serve) as server:
        asyncio.run(run(server))
        assert server.stop() == 0
