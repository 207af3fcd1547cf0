"""Waiting for the lock on a log within one process, shared by all adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.errors import LogUnavailable


class Mutex:
    """A lock within one process, which tasks hold in the order of their calls."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def held(self, timeout: float) -> AsyncIterator[None]:
        """Hold the mutex; raises `LogUnavailable` if it is not free within the timeout."""
        if self._waiting or self._lock.locked():
            await self._wait(timeout)
        else:
            # This does not suspend, so it needs no timer, which costs more than the lock itself.
            await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def _wait(self, timeout: float) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout):
                await self._lock.acquire()
        except TimeoutError:
            raise LogUnavailable(f"the log was not free within {timeout} s") from None
        finally:
            self._waiting -= 1
