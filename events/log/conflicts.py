"""Repeat an append that was refused because another one was first.

The lock of a log in MariaDB Galera excludes only the appenders of the same node.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from events.errors import LogConflict
from events.log.port import Appender, EventLog

_Result = TypeVar("_Result")

_LONGEST_PAUSE_SECONDS: Final = 0.01


async def repeat_on_conflict(timeout: float, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
    """Return the result of the first attempt without a conflict.

    Each attempt must take the lock and decide anew. After ``timeout`` seconds, raise the
    `LogConflict`.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await attempt()
        except LogConflict:
            if time.monotonic() >= deadline:
                raise
            # At random, so that a node that is slower is not refused each time.
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - no secret


def check_is_first(log: EventLog, appender: Appender) -> None:
    """Raise `LogConflict` if another appender has published in spite of the lock."""
    if log.position > appender.head.position:
        raise LogConflict("another appender was first, in spite of the lock")
