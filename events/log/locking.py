"""Waiting for the lock on a log within one process, shared by all adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.errors import LogUnavailable


@asynccontextmanager
async def acquire_within(mutex: asyncio.Lock, timeout: float) -> AsyncIterator[None]:
    """Hold a mutex; raises `LogUnavailable` if it is not free within the timeout."""
    try:
        async with asyncio.timeout(timeout):
            await mutex.acquire()
    except TimeoutError:
        raise LogUnavailable(f"the log was not free within {timeout} s") from None
    try:
        yield
    finally:
        mutex.release()
