"""What a whole server does when a worker stands still, or its supervisor is gone.

A clock that runs backwards and SIGTERM under load are in tests/end_to_end/test_workers.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.end_to_end.client import Answer
from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.strace import needs_strace, traced
from tests.end_to_end.written import read_log
from tests.fault_injection.faults.asking import SECONDS, Person, newcomer, written_in_the_end

STOP_AT_THE_SYNC = ("trace=fdatasync", "inject=fdatasync:signal=STOP:when=1")
"""The write is begun and the lock is held by then."""

LOCK_SECONDS = 5.0
"""How long a write waits for the lock."""

AT_MOST_SECONDS = 3.0
"""How much later the answer may be on a busy machine."""

STOPPED = "--- stopped by SIGSTOP ---"
"""What is written of a thread that stands still; a traced one also does so for every call."""


async def until_stopped(calls: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while STOPPED not in calls.read_text():
        assert time.monotonic() < deadline, "the worker was not stopped"
        await asyncio.sleep(0.01)


@needs_strace
def test_a_worker_that_stands_still_with_the_lock_holds_up_writes_only(data: Path) -> None:
    """The others answer 503 in bounded time and read on; when it goes on, so does everything."""

    async def run(server: Server) -> None:
        async with newcomer(server) as person:
            stopped, other = await person.at_each_worker(server)
            assert (await other.write("before")).status == 200
            calls = data.with_name("calls")
            with traced(stopped.worker, calls, *STOP_AT_THE_SYNC):
                held_up = asyncio.create_task(stopped.write("held up"))
                try:
                    await until_stopped(calls)
                    answer = await _refused_in_time(other)
                    assert await other.titles() == ["before"]
                finally:
                    os.kill(stopped.worker, signal.SIGCONT)
                assert answer.headers["retry-after"] == "1"
                assert (await held_up).status == 200
            assert (await other.write("after")).status == 200
            for someone in (stopped, other):
                assert await someone.titles() == ["before", "held up", "after"]

    with Server(data, 2, by_serve) as server:
        asyncio.run(run(server))
        assert server.stop() == 0
    assert not read_log(server.log).faults


async def _refused_in_time(person: Person) -> Answer:
    """A write that nobody can do now."""
    began = time.monotonic()
    answer = await person.write("in vain")
    assert time.monotonic() - began < LOCK_SECONDS + AT_MOST_SECONDS
    assert (answer.status, answer.json()["type"]) == (503, "/problems/log-unavailable"), answer
    return answer


def test_a_worker_that_is_stopped_for_a_while_catches_up(data: Path) -> None:
    """It holds no lock: nobody waits for it, and it answers nothing that is out of date."""

    async def run(server: Server) -> None:
        async with newcomer(server) as person:
            stopped, other = await person.at_each_worker(server)
            os.kill(stopped.worker, signal.SIGSTOP)
            try:
                assert (await other.write("meanwhile")).status == 200
                reading = asyncio.create_task(stopped.titles())
                await asyncio.sleep(0.2)
                assert not reading.done()
            finally:
                os.kill(stopped.worker, signal.SIGCONT)
            assert await reading == ["meanwhile"]
            await written_in_the_end(server, person, "after")

    with Server(data, 2, by_serve) as server:
        asyncio.run(run(server))
        assert server.stop() == 0
