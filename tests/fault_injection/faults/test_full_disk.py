"""On a full disk, only events that revoke rights can be written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec
import pytest

from eventapi.testing.items import ITEMS
from events.log.file.reserve import RESERVE_BYTES
from events.verification.verify import verify
from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.log_reader import read_keys
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.end_to_end.workload import PASSWORD
from tests.eventapi.cli.running import run as run_command
from tests.fault_injection.faults.disks import full_disk, loop_disk, make_image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 disk."""
    make_image(tmp_path / "image", 16)
    with loop_disk(tmp_path / "image", tmp_path / "disk") as place:
        yield place


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class User(msgspec.Struct):
    """A user with two sessions."""

    name: str
    headers: Mapping[str, str]
    other: Mapping[str, str]


class EveryWorker:
    """One connection to every worker of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connections: dict[int, Connection] = {}
        self._opened: list[Connection] = []

    async def __aenter__(self) -> Self:
        while len(self.connections) < self.server.workers:
            connection = await Connection.open(self.server.port)
            self._opened.append(connection)
            self.connections.setdefault(connection.worker, connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._opened:
            connection.close()
        await asyncio.sleep(0)

    async def send(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Answer:
        return await next(iter(self.connections.values())).request(method, path, content, headers)

    async def statuses(self, headers: Mapping[str, str]) -> set[int]:
        """The statuses that the workers answer to a token."""
        return {
            (await worker.request("GET", "/auth/me", None, headers)).status
            for worker in self.connections.values()
        }

    async def register(self, name: str) -> User:
        body = {"username": name, "password": PASSWORD}
        email = f"{name}@example.org"
        assert (await self.send("POST", "/auth/register", body | {"email": email})).status == 200
        tokens = []
        for _ in range(2):
            answer = await self.send("POST", "/auth/login", body)
            tokens.append({"Authorization": f"Bearer {answer.json()['access_token']}"})
        return User(name, tokens[0], tokens[1])

    async def create_item(self, user: User) -> str:
        """Create an item and return its path."""
        created = await self.send("POST", "/items", {"title": "an item"}, user.headers)
        return f"/items/{created.json()['id']}"

    async def fill(self, user: User, path: str) -> None:
        """Update an item until there is no space for another line."""
        for size in (4000, 1):
            body = {"title": "more", "description": "x" * size}
            while (await self.send("PUT", path, body, user.headers)).status == 200:
                pass
        answer = await self.send("PUT", path, {"title": "more"}, user.headers)
        assert (answer.status, answer.json()["type"]) == (507, "/problems/storage-full")


async def logout(workers: EveryWorker, user: User) -> int:
    return (await workers.send("POST", "/auth/logout", None, user.headers)).status


async def end_sessions(workers: EveryWorker, user: User) -> int:
    return (await workers.send("DELETE", "/auth/sessions", None, user.headers)).status


async def end_the_other_session(workers: EveryWorker, user: User) -> int:
    sessions = (await workers.send("GET", "/auth/sessions", None, user.headers)).json()
    (other,) = (session["id"] for session in sessions if not session["current"])
    return (await workers.send("DELETE", f"/auth/sessions/{other}", None, user.headers)).status


async def change_password(workers: EveryWorker, user: User) -> int:
    body = {"current_password": PASSWORD, "new_password": "another password"}
    return (await workers.send("POST", "/auth/password", body, user.headers)).status


async def erase_me(workers: EveryWorker, user: User) -> int:
    body = {"password": PASSWORD}
    return (await workers.send("DELETE", "/auth/me", body, user.headers)).status


async def by_command(workers: EveryWorker, *arguments: str) -> int:
    data = workers.server.data
    done = await asyncio.to_thread(
        run_command, data.parent, "users", *arguments, "--data", str(data)
    )
    assert done.code == 0, done
    return 204


async def disable(workers: EveryWorker, user: User) -> int:
    return await by_command(workers, "disable", user.name)


async def erase(workers: EveryWorker, user: User) -> int:
    return await by_command(workers, "erase", "--yes", user.name)


BOTH, THIS, OTHER = (True, True), (True, False), (False, True)
REVOCATIONS: dict[Callable[[EveryWorker, User], Awaitable[int]], tuple[bool, bool]] = {
    logout: THIS,
    end_sessions: BOTH,
    end_the_other_session: OTHER,
    change_password: OTHER,
    erase_me: BOTH,
    disable: BOTH,
    erase: BOTH,
}
"""The sessions that each action ends: the one that sends it, the other one."""


async def revoke_on_a_full_disk(disk: Path, workers: EveryWorker) -> None:
    """Fill the disk, revoke rights in every way, and free space again."""
    flooder = await workers.register("flooder")
    users = [await workers.register(act.__name__.replace("_", "-")) for act in REVOCATIONS]
    item = await workers.create_item(flooder)
    with full_disk(disk):
        await workers.fill(flooder, item)
        for user, (act, ended) in zip(users, REVOCATIONS.items(), strict=True):
            assert await act(workers, user) == 204
            found = [await workers.statuses(token) for token in (user.headers, user.other)]
            assert found == [{401} if is_ended else {200} for is_ended in ended], act
            # A database that removes its journal may have freed a block.
            await workers.fill(flooder, item)
        erased = {f"users/{number}" for number in range(1, 9)} - set(
            await read_keys(disk / "vault.sqlite")
        )
        assert erased == {"users/6", "users/8"}
        assert await workers.statuses(flooder.headers) == {200}
    for number, worker in enumerate(workers.connections.values()):
        body = {"title": f"room {number}"}
        assert (await worker.request("POST", "/items", body, flooder.headers)).status == 200
    assert (disk / "events.jsonl.reserve").stat().st_blocks * 512 >= RESERVE_BYTES


def test_rights_can_be_revoked_on_a_full_disk(disk: Path) -> None:
    """Other writes are refused until there is space for them and for the reserve."""

    async def use(server: Server) -> None:
        async with EveryWorker(server) as workers:
            await revoke_on_a_full_disk(disk, workers)

    with Server(disk, 2, by_serve) as server:
        asyncio.run(use(server))
        assert server.stop() == 0
    assert "Traceback" not in server.output
    assert verify(server.log, vocabulary=ITEMS).ok


def logout_on_a_full_disk(disk: Path, command: Command) -> int:
    async def use(server: Server) -> int:
        async with EveryWorker(server) as workers:
            user = await workers.register("ann")
            item = await workers.create_item(user)
            with full_disk(disk):
                await workers.fill(user, item)
                return await logout(workers, user)

    with Server(disk, 1, command) as server:
        return asyncio.run(use(server))


def test_control_without_a_reserve_logout_fails_on_a_full_disk(disk: Path) -> None:
    assert logout_on_a_full_disk(disk, uvicorn_of("tests.end_to_end.planted:no_reserve")) == 507
