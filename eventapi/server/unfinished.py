"""The bytes that a process holds for requests of which the end has not arrived.

Each connection has a deadline and limits of its own, but thousands of them together do not fit into
memory. So there is a bound on their sum; beyond it the oldest ones are shed.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Final, Protocol

MAX_UNFINISHED_BYTES = 64 * 1_048_576

_TRIM_BYTES: Final = 8 * 1_048_576
"""From so much held on, the memory is given back to the system once it is free."""

_TRIM_SECONDS: Final = 2.0

_trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
"""glibc's; without it, freed memory is kept for the next such flood."""


class Sheddable(Protocol):
    """A connection with an unfinished request."""

    def shed(self) -> None:
        """Refuse the request and drop what is held of it."""


class UnfinishedRequests:
    """Connections with an unfinished request, oldest first, and the bytes held for each."""

    def __init__(self) -> None:
        self._sizes: dict[Sheddable, int] = {}
        self.total = 0
        self._highest = 0

    def put(self, connection: Sheddable, size: int) -> None:
        """Take in how much a connection holds by now; sheds others, or this one, over the bound."""
        self.total += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        self._highest = max(self._highest, self.total)
        while self.total > MAX_UNFINISHED_BYTES:
            oldest = next(iter(self._sizes))
            self.drop(oldest)
            oldest.shed()

    def drop(self, connection: Sheddable) -> None:
        """Forget a connection, because its request is whole, or nothing is held of it."""
        self.total -= self._sizes.pop(connection, 0)
        if self._highest >= _TRIM_BYTES and self.total < self._highest // 4:
            self._highest = self.total
            # Later: the connection that is dropped still holds its memory.
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, _trim, 0)
