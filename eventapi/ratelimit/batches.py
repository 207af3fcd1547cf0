"""Counting in batches, for as long as nobody is anywhere near a limit.

To count one request under a lock that all processes share costs a quarter of what it costs to
answer it. So where a limit is large, each worker adds up what it has let in and counts it 20
times a second, until some caller has used half of the limit. From then on, until that caller's
window ends, every request is counted before it is let in. As no server takes in so many requests in
a twentieth of a second as the other half is, a limit is kept exactly all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Final

from eventapi.ratelimit.rate import Rate
from eventapi.ratelimit.storage import RateLimitStorage

LARGE: Final = 2_000
PAUSE_SECONDS: Final = 0.05
_SHARE: Final = 32
"""What one worker lets in uncounted is at most this part of a limit: 16 workers let half in."""

Caller = Callable[[Hashable], Awaitable[str]]


class Batches:
    """What was let in and not counted yet; ``key_of`` says of a caller which key counts it."""

    def __init__(self, counts: RateLimitStorage, rate: Rate, key_of: Caller) -> None:
        self._counts = counts
        self._rate = rate
        self._key_of = key_of
        self._let_in: dict[Hashable, int] = {}
        self._share = rate.limit // _SHARE
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.near: set[str] = set()
        """Who has used half of the limit; where there is anybody, each request is counted."""

    def add(self, caller: Hashable) -> None:
        """Count a request, soon."""
        count = self._let_in[caller] = self._let_in.get(caller, 0) + 1
        if self._task is None:
            self._task = asyncio.create_task(self._count_soon(), name="limits")
        if count >= self._share:
            self._due.set()

    async def _count_soon(self) -> None:
        try:
            while self._let_in:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self._due.wait()
                self._due.clear()
                let_in, self._let_in = self._let_in, {}
                for caller, count in let_in.items():
                    await self._count(await self._key_of(caller), count)
        finally:
            self._task = None

    async def _count(self, key: str, times: int) -> None:
        window = await self._counts.add(self._rate, key, times)
        if window.count >= self._rate.limit // 2 and key not in self.near:
            self.near.add(key)
            asyncio.get_running_loop().call_later(window.seconds, self.near.discard, key)

    async def close(self) -> None:
        """Count no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
