"""Ten thousand connections to one worker: bounded memory, 503 for a full queue."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Server, by_serve, hold_log_lock
from tests.end_to_end.user_client import registered_user

CONNECTIONS, WRITES = 10_000, 4_700
"""More writes than fit into the queue of 4,096 and the waiting batch."""

CONNECTIONS_PER_STEP = 500
MAX_KIB_PER_CONNECTION = 64
ANSWER_SECONDS = 2.0


def can_have_files(count: int) -> bool:
    """Raise the limit of open files as far as permitted; return whether ``count`` fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft >= count


def resident_kib(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def open_connections(port: int, count: int) -> list[Connection]:
    """Open connections, some at a time."""
    found: list[Connection] = []
    while len(found) < count:
        opening = (Connection.open(port, identify=False) for _ in range(CONNECTIONS_PER_STEP))
        found += await asyncio.gather(*opening)
    return found


async def write_all(
    server: Server, connections: Sequence[Connection], authorization: str
) -> list[Answer]:
    """Send a write on each connection; hold the log's lock until one is refused."""
    headers = {"Authorization": authorization}
    with hold_log_lock(server.log):
        writes = [
            asyncio.create_task(one.request("POST", "/items", {"title": "one of many"}, headers))
            for one in connections
        ]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    return await asyncio.gather(*writes)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.skipif(not can_have_files(CONNECTIONS + 500), reason="needs RLIMIT_NOFILE of 10,500")
def test_ten_thousand_connections_use_bounded_memory_and_a_full_queue_gets_503(data: Path) -> None:
    async def run(server: Server) -> Counter[tuple[int, str]]:
        async with registered_user(server) as user:
            before = resident_kib(user.worker)
            connections = await open_connections(server.port, CONNECTIONS)
            try:
                began = time.monotonic()
                assert await user.titles() == []
                assert time.monotonic() - began < ANSWER_SECONDS
                idle = resident_kib(user.worker) - before
                authorization = user.account.authorization
                answers = await write_all(server, connections[-WRITES:], authorization)
                busy = resident_kib(user.worker) - before
                assert len(await user.titles()) == 1000
            finally:
                for connection in connections:
                    connection.close()
                await asyncio.sleep(0)
        assert idle < CONNECTIONS * MAX_KIB_PER_CONNECTION, f"{idle} KiB for idle connections"
        assert busy < CONNECTIONS * MAX_KIB_PER_CONNECTION, f"{busy} KiB for waiting ones"
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
    """The problem type of a response, empty for a success."""
    return "" if answer.status == 200 else str(answer.json()["type"])
