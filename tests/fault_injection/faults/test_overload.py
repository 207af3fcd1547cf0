"""Ten thousand connections at one worker: bounded memory, and 503 where too much is waiting."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.written import read_log
from tests.fault_injection.faults.asking import newcomer

CONNECTIONS, WRITES = 10_000, 4_700
"""Of the writes some are more than fit into the queue, of 4,096, and the batch that waits."""

AT_ONCE = 500
MOST_KIB_EACH = 64
ANSWER_SECONDS = 2.0


def can_have_files(count: int) -> bool:
    """Whether this process may have so many open, raising its limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft >= count


def resident_kib(pid: int) -> int:
    """How much memory a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def many(port: int, count: int) -> list[Connection]:
    """So many connections, some at a time."""
    found: list[Connection] = []
    while len(found) < count:
        opening = (Connection.open(port, ask_who=False) for _ in range(AT_ONCE))
        found += await asyncio.gather(*opening)
    return found


async def write_all(
    server: Server, connections: Sequence[Connection], authorization: str
) -> list[Answer]:
    """One write each, while the log is locked; it is let go of once some are refused."""
    headers = {"Authorization": authorization}
    lock = os.open(server.log.with_name("events.jsonl.lock"), os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writes = [
            asyncio.create_task(one.request("POST", "/items", {"title": "one of many"}, headers))
            for one in connections
        ]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    finally:
        os.close(lock)
    return await asyncio.gather(*writes)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.skipif(not can_have_files(CONNECTIONS + 500), reason="needs RLIMIT_NOFILE of 10,500")
def test_ten_thousand_connections_take_bounded_memory_and_a_full_queue_says_so(data: Path) -> None:
    async def run(server: Server) -> Counter[tuple[int, str]]:
        async with newcomer(server) as person:
            before = resident_kib(person.worker)
            connections = await many(server.port, CONNECTIONS)
            try:
                began = time.monotonic()
                assert await person.titles() == []
                assert time.monotonic() - began < ANSWER_SECONDS
                idle = resident_kib(person.worker) - before
                authorization = person.account.authorization
                answers = await write_all(server, connections[:WRITES], authorization)
                busy = resident_kib(person.worker) - before
                assert len(await person.titles()) == 1000
            finally:
                for connection in connections:
                    connection.close()
                await asyncio.sleep(0)
        assert idle < CONNECTIONS * MOST_KIB_EACH, f"{idle} KiB for idle connections"
        assert busy < CONNECTIONS * MOST_KIB_EACH, f"{busy} KiB for waiting ones"
        for answer in answers:
            assert answer.status == 200 or answer.headers["retry-after"] == "1", answer
        return Counter((answer.status, _problem(answer)) for answer in answers)

    with Server(data, 1, by_serve) as server:
        counts = asyncio.run(run(server))
        assert server.stop() == 0
    assert counts[503, "/problems/overloaded"] > 0, counts
    assert {status for status, _ in counts} == {200, 503}, counts
    written = sum(line.type == "item.created" for line in read_log(server.log).lines)
    assert written == counts[200, ""], counts


def _problem(answer: Answer) -> str:
    """The type of the problem, or nothing."""
    return "" if answer.status == 200 else str(answer.json()["type"])
