"""System calls prove that a write is on the disk before its response is sent."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.end_to_end.client import Connection
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn, uvicorn_of
from tests.end_to_end.strace import needs_strace, traced
from tests.end_to_end.workload import Load, Workload

CALLS = "fdatasync,sendto,sendmsg,write,writev,pwrite64"
WRITES = 5

pytestmark = needs_strace

_CALL = re.compile(r"^(?P<thread>\d+) +(?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*)$")


def trace(server: Server) -> list[str]:
    """Trace the system calls of a server while it creates some items."""
    output = server.data.with_name("calls")
    account = asyncio.run(Workload(Load([server.port], server.log)).create_account("ann"))
    asyncio.run(_wait_for_session(server.port, account.authorization))
    with traced(server.pid, output, f"trace={CALLS}"):
        asyncio.run(_write(server.port, account.authorization))
    return output.read_text(errors="replace").splitlines()


async def _wait_for_session(port: int, authorization: str) -> None:
    """Wait for the session, which a server with the planted bug creates late."""
    connection = await Connection.open(port)
    headers = {"Authorization": authorization}
    try:
        while (await connection.request("GET", "/auth/me", headers=headers)).status == 401:  # noqa: ASYNC110 - a server
            await asyncio.sleep(0.01)
    finally:
        connection.close()


async def _write(port: int, authorization: str) -> None:
    connection = await Connection.open(port)
    for number in range(WRITES):
        headers = {"Authorization": authorization, "X-Request-ID": f"traced-{number}"}
        answer = await connection.request("POST", "/items", {"title": "a title"}, headers)
        assert answer.status == 200
    connection.close()


def is_synced_before_response(calls: list[str], requestid: str) -> bool:
    """Whether the line was written, then synced successfully, and answered only then."""
    stage, descriptor, syncing = "write", "", ""
    for call in calls:
        found = _CALL.match(call)
        if found is None:
            continue
        thread, name, rest = found["thread"], found["name"], found["rest"]
        if f"x-request-id: {requestid}\\r" in rest:
            return stage == "answer"
        if name == "pwrite64" and f'\\"requestid\\":\\"{requestid}\\"' in rest:
            stage, descriptor = "sync", rest[1 : rest.index(",")]
        elif name == "fdatasync" and stage == "sync":
            # strace may print a call in two parts, with calls of other threads in between.
            if re.match(rf"\({descriptor}\b", rest):
                syncing = thread
            if syncing == thread and re.search(r"= 0$", rest):
                stage = "answer"
    raise AssertionError(f"no answer to {requestid} among {len(calls)} calls")


def verdicts(server: Server) -> set[bool]:
    """Whether the writes were synced before their responses."""
    calls = trace(server)
    return {is_synced_before_response(calls, f"traced-{number}") for number in range(WRITES)}


@pytest.mark.parametrize("command", [by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def test_write_is_synced_before_its_response(data: Path, command: Command) -> None:
    with Server(data, 1, command) as server:
        assert verdicts(server) == {True}


@pytest.mark.parametrize("bug", ["no_sync", "early_answers"])
def test_control_missing_or_late_sync_is_found(data: Path, bug: str) -> None:
    """Planted bugs: no sync at all, or a sync after the response."""
    with Server(data, 1, uvicorn_of(f"tests.end_to_end.planted:{bug}")) as server:
        assert verdicts(server) == {False}
