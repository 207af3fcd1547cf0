"""The rows of a log in a database: every statement about them, for whoever has a connection."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Select, String, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import EVENTS, HEAD, Database, translate_errors
from events.errors import LogUnreachable
from events.log.port import Head

LINES_PER_SELECT: Final = 500
"""How many lines are read at once; of the longest, 32 MB."""

STATEMENT_BYTES: Final = 1 << 20
"""About so much goes into one statement: MySQL takes 16 MB at most by default."""

CHANNEL: Final = "eventapi_head"
"""Where appends are told of, one channel for all logs of a database: each word names its schema."""

_NOTIFICATION: Final = re.compile(r"(.*) ([0-9]{1,19}) ([0-9a-f]{64})", re.DOTALL)

SELECT_HEAD: Final = select(HEAD.c.position, HEAD.c.hash).where(HEAD.c.id == 1)
SELECT_HEAD_FOR_UPDATE: Final = SELECT_HEAD.with_for_update()

_UPDATE_HEAD: Final = (
    update(HEAD).where(HEAD.c.id == 1).values(position=bindparam("end"), hash=bindparam("digest"))
)
_UPDATE_HEAD_AND_NOTIFY: Final = _UPDATE_HEAD.returning(
    func.pg_notify(CHANNEL, func.concat(func.current_schema(), bindparam("word", type_=String)))
)
_INSERT_LINES: Final = EVENTS.insert().from_select(
    ["position", "line"],
    select(*(func.unnest(bindparam(column.name, type_=ARRAY(column.type))) for column in EVENTS.c)),
)
"""All rows from an array a column: asyncpg would send a statement a row."""

_INSERT_LINES_AND_UPDATE_HEAD: Final = _INSERT_LINES.add_cte(_UPDATE_HEAD_AND_NOTIFY.cte("moved"))
"""And the end moved, in one round trip to PostgreSQL; a part of a statement is carried out whole."""


async def insert_lines(
    connection: AsyncConnection, lines: Sequence[bytes], head: Head, *, is_postgresql: bool
) -> None:
    """Insert the lines that end at a head, and move the end there; PostgreSQL tells of it."""
    *runs, last = _batches(head.position - len(lines) + 1, lines)
    end = {"end": head.position, "digest": head.hash}
    if is_postgresql:
        word = {"word": f" {head.position} {head.hash.hex()}"}
        for run in runs:
            await connection.execute(_INSERT_LINES, _columns(run))
        await connection.execute(_INSERT_LINES_AND_UPDATE_HEAD, _columns(last) | end | word)
        return
    for run in (*runs, last):
        await connection.execute(EVENTS.insert(), run)
    await connection.execute(_UPDATE_HEAD, end)


def _batches(position: int, lines: Sequence[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Rows for lines from a position on, in runs that a statement may have."""
    run: list[dict[str, Any]] = []
    size = 0
    for at, line in enumerate(lines, position):
        run.append({"position": at, "line": line})
        size += len(line)
        if size >= STATEMENT_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run


def _columns(run: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {column.name: [row[column.name] for row in run] for column in EVENTS.c}


async def head_of(connection: AsyncConnection, wanted: Select[Any] = SELECT_HEAD) -> Head:
    """Where the log says that it ends; asked with `LOCKED`, nobody else moves that meanwhile."""
    row = (await connection.execute(wanted)).one()
    return Head(row.position, row.hash)


async def select_lines(connection: AsyncConnection, after: int, upto: int) -> Sequence[Any]:
    """Rows behind a position, ``position`` and ``line`` of each, not beyond another; `PAGE_LINES`."""
    wanted = select(EVENTS).where(EVENTS.c.position > after, EVENTS.c.position <= upto)
    return (
        await connection.execute(wanted.order_by(EVENTS.c.position).limit(LINES_PER_SELECT))
    ).all()


async def schema_of(connection: AsyncConnection) -> str:
    """In which schema of PostgreSQL the rows are."""
    schema: str = (await connection.execute(select(func.current_schema()))).scalar_one()
    return schema


def parse_notification(word: str) -> tuple[str, Head] | None:
    """What is told at `CHANNEL`: of which schema, and where its log ends.

    ``None`` for other words: whoever may connect to the database may say something there.
    """
    found = _NOTIFICATION.fullmatch(word)
    if found is None:
        return None
    return found[1], Head(int(found[2]), bytes.fromhex(found[3]))


async def read_unchecked(database: Database) -> tuple[Head, AsyncIterator[list[bytes]]]:
    """Where the log says that it ends, and whatever lines there are up to there: for who checks.

    Raises `LogUnreachable`.
    """
    with translate_errors(LogUnreachable, "the log"):
        async with database.reading.connect() as connection:
            head = await head_of(connection)
    return head, _read_rows(database, head.position)


async def _read_rows(database: Database, upto: int) -> AsyncIterator[list[bytes]]:
    position = 0
    while position < upto:
        # A page at a time: whoever reads may be slow, and a connection that rests is closed.
        with translate_errors(LogUnreachable, "the log"):
            async with database.reading.connect() as connection:
                rows = await select_lines(connection, position, upto)
        if not rows:
            return
        position = rows[-1].position
        yield [row.line for row in rows]
