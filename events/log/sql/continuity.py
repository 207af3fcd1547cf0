"""Check that a database continues the log that this machine has acknowledged.

``known`` is the newest head in the commit index ``mark``: an acknowledged event.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.tables import EVENTS, HEAD
from events.errors import MissingEvents
from events.log.port import Head
from events.log.sql.rows import select_lines
from events.messages.errors import DATABASE_BEHIND, UNSAFE_DATABASE

_STANDING: Final = f"""
    SELECT position, (SELECT line FROM {EVENTS.name} WHERE position = $1) AS line,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit
    FROM {HEAD.name} WHERE id = 1
"""  # noqa: S608 - only names of tables
"""In PostgreSQL: the head, a line, and the settings of `events.database.durability`."""


async def check_server(connection: Any, known: Head, mark: Path) -> None:
    """Refuse a new connection to a server that could lose, or has lost, events.

    The connection is asyncpg's. Such a server is a standby that was promoted too early, or that has
    other settings than the primary. Raises `MissingEvents` and `ConnectionError`.
    """
    found = await connection.fetchrow(_STANDING, known.position)
    if found is None:
        raise ConnectionError("it has no log")
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if found[name] == "off":
            raise ConnectionError(UNSAFE_DATABASE.fill(name=name, value="off", good="on").text)
    if known.position and not known.matches(found["line"] or b""):
        raise _missing_events(known, found["position"], mark)


async def check_continues(connection: AsyncConnection, head: Head, known: Head, mark: Path) -> None:
    """Raise `MissingEvents` unless the log that ends at ``head`` continues ``known``."""
    if head == known or not known.position:
        return
    if head.position > known.position:
        rows = await select_lines(connection, known.position - 1, known.position)
        if any(known.matches(row.line) for row in rows):
            return
    raise _missing_events(known, head.position, mark)


def _missing_events(known: Head, end: int, mark: Path) -> MissingEvents:
    """The error of a database that ends at the position ``end`` and has lost events."""
    lack = (
        f"ends at position {end:,}, so that those from {end + 1:,} on are missing"
        if end < known.position
        else f"has another event at position {known.position:,}"
    )
    return MissingEvents(
        DATABASE_BEHIND.fill(events=known.position, lack=lack, mark=mark),
        position=min(end + 1, known.position),
        offset=0,
    )
