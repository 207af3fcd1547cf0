"""Answers that clients do not read: a minimum rate each, and a common bound."""

from __future__ import annotations

import asyncio
from typing import Protocol

from eventapi.server.deadlines import MIN_RATE

TAKE_SECONDS = 20.0
"""The interval in which a client must read at `MIN_RATE` on average."""

MAX_UNTAKEN_BYTES = 128 * 1_048_576
"""Bytes of answers that one process holds for clients that do not read them."""


class Writer(Protocol):
    """A connection with an answer in its write buffer."""

    transport: asyncio.Transport


class WriteBudget:
    """Connections of a process whose clients stopped reading, oldest first."""

    def __init__(self) -> None:
        self._stalled: dict[Writer, None] = {}

    def add(self, connection: Writer) -> None:
        """Add a connection; abort those that stalled first while the bound is exceeded."""
        self._stalled[connection] = None
        unread = {one: one.transport.get_write_buffer_size() for one in self._stalled}
        total = sum(unread.values())
        for one, size in unread.items():
            if total <= MAX_UNTAKEN_BYTES:
                return
            del self._stalled[one]
            one.transport.abort()
            total -= size

    def discard(self, connection: Writer) -> None:
        """Remove a connection, because its client reads again or is gone."""
        self._stalled.pop(connection, None)


class UnreadAnswer:
    """How fast a client reads what is in the write buffer of its connection."""

    __slots__ = ("_bytes", "_since")

    def __init__(self) -> None:
        self._bytes = 0
        self._since = 0.0

    def restart(self, transport: asyncio.Transport, now: float) -> float:
        """Begin to measure; return the time of the next check."""
        self._bytes, self._since = transport.get_write_buffer_size(), now
        return now + TAKE_SECONDS

    def next_check(self, unread: int, now: float) -> float | None:
        """The time of the next check; ``None`` if the client has read too slowly."""
        due = self._since + TAKE_SECONDS
        if now < due:
            return due
        if self._bytes - unread < TAKE_SECONDS * MIN_RATE:
            return None
        self._bytes, self._since = unread, now
        return now + TAKE_SECONDS
