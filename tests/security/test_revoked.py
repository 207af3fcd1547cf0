"""What ends a session ends it at once, whichever of the workers is asked next."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.end_to_end.client import Connection
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.end_to_end.user_client import SECONDS, ApiUser, registered_user
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import clean_environment

WORKERS = 4
ROUNDS = 3

End = Callable[[Server, ApiUser, str], Awaitable[None]]


def asked(method: str, path: str, status: int, body: object = None) -> End:
    """How a person ends sessions over HTTP."""

    async def end(server: Server, person: ApiUser, _: str) -> None:
        connection = await Connection.open(server.port)
        headers = {"Authorization": person.account.authorization}
        answer = await connection.request(method, path, body, headers)
        assert answer.status == status, answer
        connection.close()

    return end


def told(*arguments: str) -> End:
    """How an operator ends the sessions of a user, beside the server."""

    async def end(server: Server, _: ApiUser, name: str) -> None:
        command = [sys.executable, "-m", "eventapi", "--data", str(server.data), *arguments, name]
        await asyncio.to_thread(
            subprocess.run, command, check=True, capture_output=True, env=clean_environment()
        )

    return end


ENDS = {
    "logout": asked("POST", "/auth/logout", 204),
    "all sessions": asked("DELETE", "/auth/sessions", 204),
    "erased": asked("DELETE", "/auth/me", 204, {"password": PASSWORD}),
    "disabled by the operator": told("users", "disable"),
    "erased by the operator": told("users", "erase", "--yes"),
}


async def let_in_after(server: Server, end: End) -> int:
    """How many workers still let somebody in, who was let in by all of them before."""
    still = 0
    for number in range(ROUNDS):
        name = f"person{number}"
        async with registered_user(server, name) as person:
            people = await person.at_each_worker(server)
            for one in people:
                await until_let_in(one)
            await end(server, person, name)
            still += sum(await asyncio.gather(*(is_let_in(one) for one in people)))
    return still


async def is_let_in(person: ApiUser) -> bool:
    headers = {"Authorization": person.account.authorization}
    answer = await person.connection.request("GET", "/items", None, headers)
    assert answer.status in {200, 401}, answer
    return answer.status == 200


async def until_let_in(person: ApiUser) -> None:
    """A worker that looks only now and then comes to know of the session late, too."""
    deadline = time.monotonic() + SECONDS
    while not await is_let_in(person):
        assert time.monotonic() < deadline, "the worker does not know the session"


def found(directory: Path, command: Command, end: End) -> int:
    with Server(directory / "data", WORKERS, command) as server:
        return asyncio.run(let_in_after(server, end))


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_no_worker_lets_in_whose_session_has_ended(tmp_path: Path, end: End) -> None:
    assert found(tmp_path, by_serve, end) == 0


def test_control_workers_that_look_only_now_and_then_are_found_out(tmp_path: Path) -> None:
    assert found(tmp_path, uvicorn_of("tests.end_to_end.planted:stale_reads"), ENDS["logout"]) > 0
