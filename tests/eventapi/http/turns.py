"""How often other tasks run during a piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


def turns_during(work: Awaitable[object]) -> int:
    """How often another task runs while an awaitable does its work."""

    async def wait() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(count())
        await work
        other.cancel()
        return turns

    return asyncio.run(wait())
