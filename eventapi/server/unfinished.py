"""The bytes that a process holds for requests whose end has not arrived.

Each connection has a deadline and limits of its own, but thousands of them together would not fit
into memory. So their sum is bounded; over the bound, the oldest ones are shed.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Final, Protocol

MAX_UNFINISHED_BYTES = 64 * 1_048_576

_TRIM_BYTES: Final = 8 * 1_048_576
"""After a flood that held at least this much, free memory is returned to the system."""

_TRIM_SECONDS: Final = 2.0

_trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
"""Function of glibc; without it, the process keeps freed memory for the next flood."""


class Sheddable(Protocol):
    """A connection with an unfinished request."""

    def shed(self) -> None:
        """Refuse the request and free its memory."""


class UnfinishedRequests:
    """Connections with an unfinished request, oldest first, and their bytes."""

    def __init__(self) -> None:
        self._sizes: dict[Sheddable, int] = {}
        self.total = 0
        self._highest = 0

    def put(self, connection: Sheddable, size: int) -> None:
        """Set the bytes that a connection holds; over the bound, shed the oldest."""
        self.total += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        self._highest = max(self._highest, self.total)
        while self.total > MAX_UNFINISHED_BYTES:
            oldest = next(iter(self._sizes))
            self.drop(oldest)
            oldest.shed()

    def drop(self, connection: Sheddable) -> None:
        """Remove a connection, because its request is complete or refused."""
        self.total -= self._sizes.pop(connection, 0)
        if self._highest >= _TRIM_BYTES and self.total < self._highest // 4:
            self._highest = self.total
            # Later, because the dropped connection still holds its memory.
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, _trim, 0)
