"""One person who asks a server, over connections to workers that are known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.server import Server
from tests.end_to_end.workload import PASSWORD, Account, Load, Workload

SECONDS = 20.0


class Person:
    """An account, and a connection to one of the workers."""

    def __init__(self, connection: Connection, account: Account, friends: list[Person]) -> None:
        self.connection = connection
        self.account = account
        self._friends = friends
        friends.append(self)

    @property
    def worker(self) -> int:
        """The process that answers."""
        return self.connection.worker

    async def write(self, title: str) -> Answer:
        """Make an item."""
        return await self._ask("POST", {"title": title})

    async def register(self, name: str) -> Answer:
        """Make an account for somebody else."""
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        return await self.connection.request("POST", "/auth/register", body)

    async def titles(self) -> list[str]:
        """The titles of all items, of which the answer must tell."""
        answer = await self._ask("GET")
        assert answer.status == 200, answer
        return [item["title"] for item in answer.json()]

    async def _ask(self, method: str, content: object = None) -> Answer:
        headers = {"Authorization": self.account.authorization}
        path = "/items?limit=1000" if method == "GET" else "/items"
        return await self.connection.request(method, path, content, headers)

    async def again(self, server: Server) -> Person:
        """The same person, over another connection, to whichever worker takes it."""
        return Person(await Connection.open(server.port), self.account, self._friends)

    async def at_each_worker(self, server: Server) -> list[Person]:
        """The same person, at every worker of a server."""
        found: dict[int, Person] = {}
        deadline = time.monotonic() + SECONDS
        while len(found) < server.workers:
            assert time.monotonic() < deadline, "a worker takes no connection"
            person = await self.again(server)
            found.setdefault(person.worker, person)
        return list(found.values())


@asynccontextmanager
async def newcomer(server: Server, name: str = "somebody") -> AsyncIterator[Person]:
    """Somebody who has just registered; in the end all of their connections are closed."""
    friends: list[Person] = []
    account = await Workload(Load([server.port], server.log)).account(name)
    try:
        yield Person(await Connection.open(server.port), account, friends)
    finally:
        for friend in friends:
            friend.connection.close()
        await asyncio.sleep(0)


async def written_in_the_end(server: Server, person: Person, title: str) -> None:
    """Make an item as soon as a worker takes it; until then the answer is 503, or none."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            answer = await (await person.again(server)).write(title)
        except (BrokenError, OSError):
            await asyncio.sleep(0.05)
            continue
        if answer.status == 200:
            return
        assert answer.status == 503, answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody writes any more:\n{server.output}")
