"""After a sync that failed nothing that was running may write, and a new start may."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.server import Command, Server
from tests.end_to_end.strace import needs_strace, traced
from tests.end_to_end.workload import Account, Load, Workload
from tests.end_to_end.written import read_log

SECONDS = 20.0
FAIL_ONCE = ("trace=fdatasync", "inject=fdatasync:error=EIO:when=1")

pytestmark = needs_strace


async def write(connection: Connection, account: Account, title: str) -> Answer:
    """Make an item."""
    headers = {"Authorization": account.authorization}
    return await connection.request("POST", "/items", {"title": title}, headers)


async def write_in_the_end(server: Server, account: Account, title: str) -> None:
    """Make an item, as soon as a worker takes it; until then the answer is 503 or none."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            connection = await Connection.open(server.port)
            answer = await write(connection, account, title)
            connection.close()
        except (BrokenError, OSError):
            continue
        if answer.status == 200:
            return
        assert answer.status == 503, answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody writes any more:\n{server.output}")


async def connections(server: Server) -> list[Connection]:
    """One connection to each worker."""
    found: dict[int, Connection] = {}
    deadline = time.monotonic() + SECONDS
    while len(found) < server.workers:
        assert time.monotonic() < deadline, "a worker takes no connection"
        connection = await Connection.open(server.port)
        if connection.worker in found:
            connection.close()
        else:
            found[connection.worker] = connection
    return list(found.values())


async def fail_and_go_on(server: Server) -> None:
    account = await Workload(Load([server.port], server.log)).account("somebody")
    workers = await connections(server)
    assert (await write(workers[0], account, "before")).status == 200
    with traced(workers[0].worker, server.data.with_name("calls"), *FAIL_ONCE):
        answers = [await write(worker, account, "failed") for worker in workers]
    for worker in workers:
        worker.close()
    for answer in answers:
        assert (answer.status, answer.json()["type"]) == (503, "/problems/log-unavailable")
    await write_in_the_end(server, account, "after")


def test_a_failed_sync_fences_all_workers_until_they_are_new(data: Path, command: Command) -> None:
    """The write is refused and gone for good; what was acknowledged is there; others take over."""
    with Server(data, 2, command) as server:
        before = server.worker_pids()
        asyncio.run(fail_and_go_on(server))
        deadline = time.monotonic() + SECONDS
        while before & server.worker_pids():
            assert time.monotonic() < deadline, "a fenced worker still serves"
            time.sleep(0.05)
        assert server.stop() == 0
    log = read_log(server.log)
    assert not log.faults
    assert [line.personal.get("title") for line in log.lines if line.item] == ["before", "after"]
    assert "a sync of the log failed" in server.output
