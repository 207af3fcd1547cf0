"""A failed sync fences all running workers; only newly started ones may write."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Command, Server
from tests.end_to_end.strace import needs_strace, traced
from tests.end_to_end.user_client import registered_user, write_until_accepted
from tests.end_to_end.waiting import wait_until

FAIL_ONCE = ("trace=fdatasync", "inject=fdatasync:error=EIO:when=1")

pytestmark = needs_strace


async def fail_a_sync(server: Server) -> None:
    """Let a sync fail; every worker must refuse writes until one is replaced."""
    async with registered_user(server) as user:
        at_workers = await user.at_each_worker(server)
        assert (await at_workers[0].write("before")).status == 200
        calls = server.data.with_name("calls")
        with traced(at_workers[0].worker, calls, *FAIL_ONCE, only=server.log):
            answers = [await at_worker.write("failed") for at_worker in at_workers]
        for answer in answers:
            assert (answer.status, answer.json()["type"]) == (503, "/problems/log-unavailable")
        await write_until_accepted(server, user, "after")


def test_failed_sync_fences_all_workers_until_they_are_replaced(
    data: Path, command: Command
) -> None:
    """The failed write is gone; acknowledged events stay; new workers take over."""
    with Server(data, 2, command) as server:
        before = server.worker_pids()
        asyncio.run(fail_a_sync(server))
        wait_until(lambda: not before & server.worker_pids())
        assert server.stop() == 0
    log = read_log(server.log)
    assert not log.faults
    assert [line.personal.get("title") for line in log.lines if line.item] == ["before", "after"]
    assert "a sync of the log failed" in server.output
