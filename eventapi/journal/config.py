"""The sizes and timeouts of a journal."""

from __future__ import annotations

from typing import Final

import msgspec


class JournalConfig(msgspec.Struct, frozen=True):
    """Sizes and timeouts of a journal.

    ``batch`` counts commands, ``queue`` requests; the timeouts are for the lock, in seconds.
    A start waits longer than a write, because a worker that fails to start stops the whole server.
    """

    batch: int = 512
    queue: int = 4096
    lock_timeout: float = 5.0
    start_timeout: float = 60.0


DEFAULT_CONFIG: Final = JournalConfig()
