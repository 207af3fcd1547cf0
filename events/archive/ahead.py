"""Fetch objects ahead: a few at the same time, and in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")

BUNDLES_AHEAD: Final = 4
"""Bundles that are fetched while earlier ones are used; each may have 16 MiB, most have 100 KiB."""


async def fetch_ahead(
    fetch: Callable[[int], Coroutine[Any, Any, T]], numbers: Iterable[int]
) -> AsyncGenerator[T]:
    """Yield what is fetched for each number, in their order.

    Close it after an early end: then what is still running is cancelled.
    """
    rest = iter(numbers)
    running = deque[asyncio.Task[T]]()
    try:
        while True:
            while len(running) < BUNDLES_AHEAD and (number := next(rest, None)) is not None:
                running.append(asyncio.create_task(fetch(number)))
            if not running:
                return
            fetched = await running[0]
            running.popleft()
            yield fetched
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
