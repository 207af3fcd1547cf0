"""Run work only while a lease is held."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from eventapi.followers.port import Lease
from events.io.tasks import cancel_and_wait


async def run_while_held(lease: Lease, work: Coroutine[Any, Any, None], name: str) -> None:
    """Run work until it ends or the lease is lost; then release the lease.

    Raises the errors of the work and of the lease.
    """
    working = asyncio.create_task(work, name=name)
    keeping = asyncio.create_task(lease.keep(), name=f"lease of {name}")
    try:
        await asyncio.wait([working, keeping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        try:
            await cancel_and_wait(working, keeping)
        finally:  # A lease that is not released would keep this process from its next follower.
            await lease.release()
    for task in (working, keeping):
        if not task.cancelled():
            task.result()
