"""A session that ends is refused at once by every worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.end_to_end.client import Connection
from tests.end_to_end.server import Server, by_serve, uvicorn_of
from tests.end_to_end.user_client import SECONDS, ApiUser, registered_user
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import clean_environment

WORKERS = 4
ROUNDS = 3

End = Callable[[Server, ApiUser, str], Awaitable[None]]
"""Ends the sessions of a user."""


def by_request(method: str, path: str, status: int, body: object = None) -> End:
    """Sessions that their user ends over HTTP."""

    async def end(server: Server, person: ApiUser, _: str) -> None:
        connection = await Connection.open(server.port)
        headers = {"Authorization": person.account.authorization}
        answer = await connection.request(method, path, body, headers)
        assert answer.status == status, answer
        connection.close()

    return end


def by_command(*arguments: str) -> End:
    """Sessions that an operator ends with the command line while the server runs."""

    async def end(server: Server, _: ApiUser, name: str) -> None:
        command = [sys.executable, "-m", "eventapi", "--data", str(server.data), *arguments, name]
        await asyncio.to_thread(
            subprocess.run, command, check=True, capture_output=True, env=clean_environment()
        )

    return end


ENDS = {
    "logout": by_request("POST", "/auth/logout", 204),
    "all sessions": by_request("DELETE", "/auth/sessions", 204),
    "erased": by_request("DELETE", "/auth/me", 204, {"password": PASSWORD}),
    "disabled by the operator": by_command("users", "disable"),
    "erased by the operator": by_command("users", "erase", "--yes"),
}


async def count_acceptances(server: Server, end: End) -> int:
    """How often a worker accepts a token of a session that has ended."""
    accepted = 0
    for number in range(ROUNDS):
        name = f"person{number}"
        async with registered_user(server, name) as person:
            people = await person.at_each_worker(server)
            for one in people:
                await wait_until_accepted(one)
            await end(server, person, name)
            accepted += sum(await asyncio.gather(*(is_accepted(one) for one in people)))
    return accepted


async def is_accepted(person: ApiUser) -> bool:
    headers = {"Authorization": person.account.authorization}
    answer = await person.connection.request("GET", "/items", None, headers)
    assert answer.status in {200, 401}, answer
    return answer.status == 200


async def wait_until_accepted(person: ApiUser) -> None:
    """Wait for the worker, because the stale one of the control applies logins late."""
    deadline = time.monotonic() + SECONDS
    while not await is_accepted(person):
        assert time.monotonic() < deadline, "the worker has not applied the login"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_no_worker_accepts_a_token_of_an_ended_session(tmp_path: Path, end: End) -> None:
    with Server(tmp_path / "data", WORKERS, by_serve) as server:
        assert await count_acceptances(server, end) == 0


async def test_control_a_worker_with_stale_reads_is_detected(tmp_path: Path) -> None:
    stale = uvicorn_of("tests.end_to_end.planted:stale_reads")
    with Server(tmp_path / "data", WORKERS, stale) as server:
        assert await count_acceptances(server, ENDS["logout"]) > 0
