"""The outcome of a COMMIT whose answer was lost."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from events.database.connection import Database
from events.database.failures import ERRORS
from events.errors import LogUnavailable
from events.log.port import Head
from events.log.sql.rows import SELECT_HEAD_FOR_UPDATE, head_of, rewrite_head, select_lines
from events.messages.errors import COMMIT_UNKNOWN

_RESOLVE_SECONDS: Final = 10.0
"""How long to try to find out the outcome of a COMMIT."""

_PAUSE_SECONDS: Final = 0.05


async def is_committed(database: Database, head: Head) -> bool:
    """Whether a transaction of unknown outcome, which ends at ``head``, was committed.

    The row is locked once more: the lock waits for the end of the lost transaction, and the rows
    show its outcome. A synchronous standby may lack them until another COMMIT, which waits for it,
    succeeds. On Galera the lost transaction may still run on another node, where the lock does not
    reach: so the row is rewritten, and the lost transaction cannot be committed any more. Raises
    `LogUnavailable` if the outcome stays unknown.
    """
    deadline = time.monotonic() + _RESOLVE_SECONDS
    while time.monotonic() < deadline:
        with suppress(*ERRORS):
            async with (
                asyncio.timeout(deadline - time.monotonic()),
                database.connection() as connection,
            ):
                current = await head_of(connection, SELECT_HEAD_FOR_UPDATE)
                rows = await select_lines(connection, head.position - 1, head.position)
                found = any(head.matches(row.line) for row in rows)
                if not found and not database.is_postgresql:
                    await rewrite_head(connection, current)
                await database.commit(connection)  # A row lock is a write, too.
                return found
        await asyncio.sleep(_PAUSE_SECONDS)
    raise LogUnavailable(COMMIT_UNKNOWN)
