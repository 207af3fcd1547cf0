"""The SQL statements of a log in a database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Select, String, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.database.failures import translate_errors
from events.database.tables import EVENTS, HEAD
from events.errors import LogUnreachable
from events.log.port import Head

LINES_PER_SELECT: Final = 500
"""The limit of one read; with lines of the maximum length, 32 MB."""

STATEMENT_BYTES: Final = 1 << 20
"""The approximate size of one INSERT: MySQL accepts at most 16 MB by default."""

CHANNEL: Final = "eventapi_head"
"""The channel of NOTIFY: one for all logs of a database; each payload names its schema."""

_NOTIFICATION: Final = re.compile(r"(.*) ([0-9]{1,19}) ([0-9a-f]{64})", re.DOTALL)

SELECT_HEAD: Final = select(HEAD.c.position, HEAD.c.hash).where(HEAD.c.id == 1)
SELECT_HEAD_FOR_UPDATE: Final = SELECT_HEAD.with_for_update()

_UPDATE_HEAD: Final = (
    update(HEAD).where(HEAD.c.id == 1).values(position=bindparam("end"), hash=bindparam("digest"))
)
_UPDATE_HEAD_AND_NOTIFY: Final = _UPDATE_HEAD.returning(
    func.pg_notify(CHANNEL, func.concat(func.current_schema(), bindparam("payload", type_=String)))
)
_INSERT_LINES: Final = EVENTS.insert().from_select(
    ["position", "line"],
    select(*(func.unnest(bindparam(column.name, type_=ARRAY(column.type))) for column in EVENTS.c)),
)
"""Rows from one array per column, because asyncpg would send one statement per row."""

_INSERT_LINES_AND_UPDATE_HEAD: Final = _INSERT_LINES.add_cte(_UPDATE_HEAD_AND_NOTIFY.cte("moved"))
"""The same and the new head in one round trip; PostgreSQL executes every part of a statement."""


async def insert_lines(
    connection: AsyncConnection, lines: Sequence[bytes], head: Head, *, is_postgresql: bool
) -> None:
    """Insert the lines that end at ``head``, update the head row, and notify of it."""
    *batches, last = _batches(head.position - len(lines) + 1, lines)
    end = {"end": head.position, "digest": head.hash}
    if is_postgresql:
        payload = {"payload": f" {head.position} {head.hash.hex()}"}
        for batch in batches:
            await connection.execute(_INSERT_LINES, _columns(batch))
        await connection.execute(_INSERT_LINES_AND_UPDATE_HEAD, _columns(last) | end | payload)
        return
    for batch in (*batches, last):
        await connection.execute(EVENTS.insert(), batch)
    await connection.execute(_UPDATE_HEAD, end)


async def rewrite_head(connection: AsyncConnection, head: Head) -> None:
    """Write the head row, which must be ``head``, without a change.

    By two updates, because MySQL does not write values that are the same.
    """
    for position in (-1, head.position):
        await connection.execute(_UPDATE_HEAD, {"end": position, "digest": head.hash})


def _batches(position: int, lines: Sequence[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows for the lines from a position on, in batches of `STATEMENT_BYTES`."""
    batch: list[dict[str, Any]] = []
    size = 0
    for at, line in enumerate(lines, position):
        batch.append({"position": at, "line": line})
        size += len(line)
        if size >= STATEMENT_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _columns(batch: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {column.name: [row[column.name] for row in batch] for column in EVENTS.c}


async def head_of(connection: AsyncConnection, wanted: Select[Any] = SELECT_HEAD) -> Head:
    """Read the head row; `SELECT_HEAD_FOR_UPDATE` locks it for the transaction."""
    row = (await connection.execute(wanted)).one()
    return Head(row.position, row.hash)


async def select_lines(connection: AsyncConnection, after: int, upto: int) -> Sequence[Any]:
    """Read up to `LINES_PER_SELECT` rows after a position up to and including another."""
    wanted = select(EVENTS).where(EVENTS.c.position > after, EVENTS.c.position <= upto)
    return (
        await connection.execute(wanted.order_by(EVENTS.c.position).limit(LINES_PER_SELECT))
    ).all()


async def schema_of(connection: AsyncConnection) -> str:
    """Return the schema of PostgreSQL that has the tables."""
    schema: str = (await connection.execute(select(func.current_schema()))).scalar_one()
    return schema


def parse_notification(payload: str) -> tuple[str, Head] | None:
    """Parse a payload of `CHANNEL`: the schema, and the new head of its log.

    Returns None for other payloads, because any client of the database can notify any channel.
    """
    found = _NOTIFICATION.fullmatch(payload)
    if found is None:
        return None
    return found[1], Head(int(found[2]), bytes.fromhex(found[3]))


async def read_unchecked(database: Database) -> tuple[Head, AsyncIterator[list[bytes]]]:
    """Return the head row and all lines up to it, without any check; for a verifier.

    Raises `LogUnreachable`, also while the lines are read.
    """
    with translate_errors(LogUnreachable, "the log"):
        async with database.reading.connect() as connection:
            head = await head_of(connection)
    return head, _read_rows(database, head.position)


async def _read_rows(database: Database, upto: int) -> AsyncIterator[list[bytes]]:
    position = 0
    while position < upto:
        # A connection per page, because an idle one is closed while a slow reader handles a page.
        with translate_errors(LogUnreachable, "the log"):
            async with database.reading.connect() as connection:
                rows = await select_lines(connection, position, upto)
        if not rows:
            return
        position = rows[-1].position
        yield [row.line for row in rows]
