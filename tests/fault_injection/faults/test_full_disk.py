"""On a full disk rights can still be taken away, and nothing else can be written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec
import pytest

from events.log.file.reserve import RESERVE_BYTES
from events.verification.verify import verify
from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.end_to_end.workload import PASSWORD
from tests.end_to_end.written import keys_of
from tests.eventapi.cli.running import run as run_command
from tests.fault_injection.faults.disks import filled, loop_disk, make_image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    make_image(tmp_path / "image", 16)
    with loop_disk(tmp_path / "image", tmp_path / "disk") as place:
        yield place


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class User(msgspec.Struct):
    """A user with two sessions."""

    name: str
    headers: Mapping[str, str]
    other: Mapping[str, str]


class Asking:
    """Requests to every worker of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.workers: dict[int, Connection] = {}
        self._opened: list[Connection] = []

    async def __aenter__(self) -> Self:
        while len(self.workers) < self.server.workers:
            connection = await Connection.open(self.server.port)
            self._opened.append(connection)
            self.workers.setdefault(connection.worker, connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._opened:
            connection.close()
        await asyncio.sleep(0)

    async def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Answer:
        return await next(iter(self.workers.values())).request(method, path, content, headers)

    async def everywhere(self, headers: Mapping[str, str]) -> set[int]:
        """What the workers answer to a token."""
        return {
            (await worker.request("GET", "/auth/me", None, headers)).status
            for worker in self.workers.values()
        }

    async def user(self, name: str) -> User:
        body = {"username": name, "password": PASSWORD}
        email = f"{name}@example.org"
        assert (await self.ask("POST", "/auth/register", body | {"email": email})).status == 200
        tokens = []
        for _ in range(2):
            answer = await self.ask("POST", "/auth/login", body)
            tokens.append({"Authorization": f"Bearer {answer.json()['access_token']}"})
        return User(name, tokens[0], tokens[1])

    async def item(self, user: User) -> str:
        """The path of a new item."""
        created = await self.ask("POST", "/items", {"title": "an item"}, user.headers)
        return f"/items/{created.json()['id']}"

    async def fill(self, user: User, path: str) -> None:
        """Write to an item until there is no room for another line."""
        for size in (4000, 1):
            body = {"title": "more", "description": "x" * size}
            while (await self.ask("PUT", path, body, user.headers)).status == 200:
                pass
        answer = await self.ask("PUT", path, {"title": "more"}, user.headers)
        assert (answer.status, answer.json()["type"]) == (507, "/problems/storage-full")


async def logout(ask: Asking, user: User) -> int:
    return (await ask.ask("POST", "/auth/logout", None, user.headers)).status


async def end_sessions(ask: Asking, user: User) -> int:
    return (await ask.ask("DELETE", "/auth/sessions", None, user.headers)).status


async def end_the_other_session(ask: Asking, user: User) -> int:
    sessions = (await ask.ask("GET", "/auth/sessions", None, user.headers)).json()
    (other,) = (session["id"] for session in sessions if not session["current"])
    return (await ask.ask("DELETE", f"/auth/sessions/{other}", None, user.headers)).status


async def change_password(ask: Asking, user: User) -> int:
    body = {"current_password": PASSWORD, "new_password": "another password"}
    return (await ask.ask("POST", "/auth/password", body, user.headers)).status


async def erase_me(ask: Asking, user: User) -> int:
    body = {"password": PASSWORD}
    return (await ask.ask("DELETE", "/auth/me", body, user.headers)).status


async def by_command(ask: Asking, *arguments: str) -> int:
    data = ask.server.data
    done = await asyncio.to_thread(
        run_command, data.parent, "users", *arguments, "--data", str(data)
    )
    assert done.code == 0, done
    return 204


async def disable(ask: Asking, user: User) -> int:
    return await by_command(ask, "disable", user.name)


async def erase(ask: Asking, user: User) -> int:
    return await by_command(ask, "erase", "--yes", user.name)


BOTH, THIS, OTHER = (True, True), (True, False), (False, True)
REVOCATIONS: dict[Callable[[Asking, User], Awaitable[int]], tuple[bool, bool]] = {
    logout: THIS,
    end_sessions: BOTH,
    end_the_other_session: OTHER,
    change_password: OTHER,
    erase_me: BOTH,
    disable: BOTH,
    erase: BOTH,
}
"""Which of a user's sessions end."""


async def take_rights_away(disk: Path, ask: Asking) -> None:
    """Fill the disk, take rights away in every way, and make room again."""
    flooder = await ask.user("flooder")
    users = [await ask.user(act.__name__.replace("_", "-")) for act in REVOCATIONS]
    item = await ask.item(flooder)
    with filled(disk):
        await ask.fill(flooder, item)
        for user, (act, ended) in zip(users, REVOCATIONS.items(), strict=True):
            assert await act(ask, user) == 204
            found = [await ask.everywhere(token) for token in (user.headers, user.other)]
            assert found == [{401} if is_ended else {200} for is_ended in ended], act
            answer = await ask.ask("POST", "/items", {"title": "no room"}, flooder.headers)
            assert answer.status == 507
        erased = {f"users/{number}" for number in range(1, 9)} - set(
            await keys_of(disk / "vault.sqlite")
        )
        assert erased == {"users/6", "users/8"}
        assert await ask.everywhere(flooder.headers) == {200}
    for number, worker in enumerate(ask.workers.values()):
        body = {"title": f"room {number}"}
        assert (await worker.request("POST", "/items", body, flooder.headers)).status == 200
    assert (disk / "events.jsonl.reserve").stat().st_blocks * 512 >= RESERVE_BYTES


def test_on_a_full_disk_rights_can_be_taken_away(disk: Path) -> None:
    """And other writes are refused until there is room for them and for the reserve."""

    async def use(server: Server) -> None:
        async with Asking(server) as ask:
            await take_rights_away(disk, ask)

    with Server(disk, 2, by_serve) as server:
        asyncio.run(use(server))
        assert server.stop() == 0
    assert "Traceback" not in server.output
    assert verify(server.log).ok


def logout_on_a_full_disk(disk: Path, command: Command) -> int:
    async def use(server: Server) -> int:
        async with Asking(server) as ask:
            user = await ask.user("somebody")
            item = await ask.item(user)
            with filled(disk):
                await ask.fill(user, item)
                return await logout(ask, user)

    with Server(disk, 1, command) as server:
        return asyncio.run(use(server))


def test_control_without_a_reserve_nobody_can_log_out(disk: Path) -> None:
    assert logout_on_a_full_disk(disk, uvicorn_of("tests.end_to_end.planted:no_reserve")) == 507
