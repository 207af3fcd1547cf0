"""The client of the HTTP tests, through the balancer of a production stack."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from eventapi.bootstrap.storage import open_log, open_vault
from tests.deployment.production.stack import Database, Stack
from tests.eventapi.http.client import SECRET, Api

SETTINGS = {
    "EVENTAPI_SECRET_KEY": SECRET,
    "EVENTAPI_RATE_LIMIT": "off",
    "EVENTAPI_RATE_LIMIT_LOGIN": "off",
}


class BalancedApi(Api):
    """An `Api` with three instances behind nginx, and their log and vault."""

    def __init__(self, database: Database | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="eventapi-through-")
        self._stack = Stack(Path(self._folder.name), database, SETTINGS, one_machine=True)
        self._runner = asyncio.Runner()

    async def _start(self) -> None:
        await asyncio.to_thread(self._stack.__enter__)
        settings, self._opened = self._stack.settings(), AsyncExitStack()
        self.log = await self._opened.enter_async_context(open_log(settings))
        self.vault = await self._opened.enter_async_context(open_vault(settings))
        self._client = httpx.AsyncClient(verify=self._stack.balancer.ssl_context, timeout=20)

    async def _stop(self) -> None:
        await self._client.aclose()
        await self._opened.aclose()
        await asyncio.to_thread(self._stack.__exit__, None, None, None)
        self._folder.cleanup()

    def url(self, path: str) -> str:
        """The address of a path."""
        return self._stack.balancer.url + path
