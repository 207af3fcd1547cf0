"""A client of accounts whose server loses processes after each answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.mails import holders, mails_to, token_of
from tests.end_to_end.server import START_SECONDS, Server, wait_for_end
from tests.end_to_end.waiting import SECONDS, wait_until

V2 = "/api/v2"

Victims = Callable[[Server, int], list[int]]
"""Takes the server and the worker that answered last; returns the processes to kill."""


def answering_worker(_: Server, worker: int) -> list[int]:
    """The worker that answered last."""
    return [worker]


def mail_holder(server: Server, _: int) -> list[int]:
    """The worker that sends mails."""
    return holders(server)


def no_worker(_server: Server, _worker: int) -> list[int]:
    """No worker."""
    return []


class AccountClient:
    """Sends each request once, over a connection of its own; then workers are killed.

    The next request does not wait until they are replaced.
    """

    def __init__(self, server: Server, victims: Victims, mail_seconds: float = SECONDS) -> None:
        """``mail_seconds`` is the longest wait for a mail."""
        self._server = server
        self._victims = victims
        self.mail_seconds = mail_seconds
        self.killed = 0
        self.token = ""

    async def ask(self, method: str, path: str, content: object = None, **headers: str) -> Answer:
        """Send a request below version 2, and kill workers after the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("Authorization", f"Bearer {self.token}")
        connection = await self._connect()
        try:
            answer = await connection.request(method, V2 + path, content, named)
        finally:
            connection.close()
        for victim in self._victims(self._server, connection.worker):
            with suppress(ProcessLookupError):  # The server was killed as a whole meanwhile.
                os.kill(victim, signal.SIGKILL)
                self.killed += 1
            wait_for_end({victim})
        return answer

    async def _connect(self) -> Connection:
        """A connection to any worker that answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return await Connection.open(self._server.port)
            except (OSError, BrokenError):
                assert time.monotonic() < deadline, f"no worker answers:\n{self._server.output}"
                await asyncio.sleep(0.02)

    async def expect(
        self, status: int, method: str, path: str, content: object = None, **headers: str
    ) -> Answer:
        """Send a request whose answer must have a status."""
        answer = await self.ask(method, path, content, **headers)
        assert answer.status == status, (method, path, answer)
        return answer

    async def log_in(self, username: str, password: str) -> None:
        """Log in; later requests have the token."""
        self.token = ""
        body = {"username": username, "password": password}
        answer = await self.expect(200, "POST", "/auth/login", body)
        self.token = answer.json()["access_token"]

    async def restart_server(self) -> None:
        """Kill all processes of the server at once, and start it again."""
        self._server.kill()
        self._server.launch()
        await asyncio.to_thread(self._server.wait_until_ready)

    async def mailed_token(self, address: str, kind: str, number: int = 1) -> str:
        """The token of the newest of so many mails, once they are there."""

        def are_there() -> bool:
            return len(mails_to(self._server, address, kind)) >= number

        await asyncio.to_thread(wait_until, are_there, self.mail_seconds)
        return token_of(mails_to(self._server, address, kind)[-1])
