"""A user of a real server, with connections to workers of known process ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.server import START_SECONDS, Server
from tests.end_to_end.workload import PASSWORD, Account, Load, Workload

SECONDS = START_SECONDS
"""A limit against hanging; a replaced worker starts within it."""


class ApiUser:
    """An account and a connection to one of the workers."""

    def __init__(self, connection: Connection, account: Account, opened: list[ApiUser]) -> None:
        self.connection = connection
        self.account = account
        self._opened = opened
        opened.append(self)

    @property
    def worker(self) -> int:
        """The process at the other end."""
        return self.connection.worker

    async def write(self, title: str) -> Answer:
        """Create an item."""
        return await self._ask("POST", {"title": title})

    async def register(self, name: str) -> Answer:
        """Register another user."""
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        return await self.connection.request("POST", "/auth/register", body)

    async def titles(self) -> list[str]:
        """List the titles of all items; the response must be 200."""
        answer = await self._ask("GET")
        assert answer.status == 200, answer
        return [item["title"] for item in answer.json()]

    async def _ask(self, method: str, content: object = None) -> Answer:
        headers = {"Authorization": self.account.authorization}
        path = "/items?limit=1000" if method == "GET" else "/items"
        return await self.connection.request(method, path, content, headers)

    async def reconnect(self, server: Server) -> ApiUser:
        """The same user on a new connection, to any worker."""
        return ApiUser(await Connection.open(server.port), self.account, self._opened)

    async def at_each_worker(self, server: Server) -> list[ApiUser]:
        """The same user, once for every worker of the server."""
        found: dict[int, ApiUser] = {}
        deadline = time.monotonic() + SECONDS
        while len(found) < server.workers:
            assert time.monotonic() < deadline, "a worker accepts no connection"
            user = await self.reconnect(server)
            found.setdefault(user.worker, user)
        return list(found.values())


@asynccontextmanager
async def registered_user(server: Server, name: str = "user") -> AsyncIterator[ApiUser]:
    """Register a user; close all of the user's connections on exit."""
    opened: list[ApiUser] = []
    account = await Workload(Load([server.port], server.log)).create_account(name)
    try:
        yield ApiUser(await Connection.open(server.port), account, opened)
    finally:
        for user in opened:
            user.connection.close()
        await asyncio.sleep(0)


async def write_until_accepted(server: Server, user: ApiUser, title: str) -> None:
    """Retry until a worker creates the item; before, only 503 or no response."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            answer = await (await user.reconnect(server)).write(title)
        except (BrokenError, OSError):
            await asyncio.sleep(0.05)
            continue
        if answer.status == 200:
            return
        assert answer.status == 503, answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"no worker accepts writes:\n{server.output}")
