"""The signing store in a database: one row, and a key in the vault's table.

The row holds the newest checkpoint, and the place of that record: the database
(`events.database.identity.database_identity`) and, on PostgreSQL, the number of the transaction
that wrote the row. Loading a dump writes the row in another transaction, so it is recognised even if it is
loaded into the existing tables. MySQL and MariaDB do not expose that number. There the creation time
of the table is used instead, so loading rows into the old tables is not recognised.

The newest checkpoint that this machine has seen is in the data directory, as
``database-*.checkpoint``. A database that is restored to an older state does not continue it, and
then nothing is signed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.database.failures import (
    is_conflict,
    is_lock_timeout,
    translate_conflicts,
    translate_errors,
)
from events.database.identity import database_identity, transaction_id
from events.database.tables import KEYS, SIGNING
from events.errors import LogUnavailable
from events.io.files import write_durably
from events.io.tasks import run_in_thread
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.port import KEY_PREFIX, LOG, SigningState

_LOCK_SECONDS: Final = 5.0
_DESTROYED = bytes(32)
_translate_errors = partial(translate_errors, LogUnavailable, "the signing key")
_ROW = select(SIGNING).where(SIGNING.c.id == 1)
_SEED = select(KEYS.c.key).where(KEYS.c.subject == LOG, KEYS.c.key != _DESTROYED)


class SqlSigning:
    """The row of one database, shared by any number of instances."""

    def __init__(self, database: Database, known: Path) -> None:
        """``known`` is the file for the newest checkpoint that this machine has seen."""
        self._database = database
        self._known = known

    async def read(self) -> SigningState:
        with _translate_errors():
            async with self._database.reading.connect() as connection:
                held = await self._read(connection)
        await self._remember(held)
        return held

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[_Row]:
        with _translate_errors(), translate_conflicts():
            connection = await self._lock_row()
            try:
                yield _Row(self, connection)
                await connection.commit()
            finally:
                await connection.close()
        # Remember the checkpoint after it is durable and before it is published.
        await self.read()

    async def _lock_row(self) -> AsyncConnection:
        """A connection that has locked the row; each attempt waits up to a second."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            connection = await self._database.connection().start()
            try:
                await connection.execute(_ROW.with_for_update())
            except BaseException as error:
                await connection.close()
                if (
                    not (is_lock_timeout(error) or is_conflict(error))
                    or time.monotonic() >= deadline
                ):
                    raise
            else:
                return connection

    async def _read(self, connection: AsyncConnection) -> SigningState:
        row = await self._row(connection)
        seed = row.seed
        known = await run_in_thread(self._read_known)
        signer = None if seed is None else Signer.from_seed(seed, KEY_PREFIX)
        stored = _parse_checkpoint(row.checkpoint)
        if signer is None:
            newest = _newest_head(stored, known)
            if newest is None and not row.vkey:
                return SigningState("new")
            return SigningState(
                "keyless", head=newest, signed_by=row.vkey.partition("+")[0] or _origin(newest)
            )
        verifier = signer.verifier
        is_confirmed = row.vkey == verifier.vkey and row.place == await _expected_place(
            connection, row
        )
        ours = [note for note in (stored, known) if note is not None and verifier.verify(note)]
        head = _newest_head(*ours)
        held = SigningState(
            "confirmed" if is_confirmed else "unconfirmed",
            signer,
            head,
            None if head is None else signer.sign(str(head)),
            verifier.name,
        )
        cosigned = _parse_checkpoint(row.cosigned)
        if cosigned is not None and verifier.verify(cosigned):
            held = replace(held, cosigned=cosigned)
        return held

    async def _row(self, connection: AsyncConnection) -> Any:
        # In one statement: a key between two would be taken for one that was copied here.
        wanted = _ROW.add_columns(_SEED.scalar_subquery().label("seed"))
        if self._database.is_postgresql:
            wanted = wanted.add_columns(text("xmin::text::bigint AS written_by"))
        return (await connection.execute(wanted)).one()

    def _read_known(self) -> Note | None:
        try:
            return _parse_checkpoint(self._known.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    async def _remember(self, held: SigningState) -> None:
        """Store the newest checkpoint in the data directory, if there is one."""
        note = held.note
        if note is None or held.status != "confirmed" or not self._known.parent.is_dir():
            return
        if await run_in_thread(self._read_known) != note:
            try:
                await run_in_thread(lambda: write_durably(self._known, str(note).encode()))
            except OSError as error:
                raise LogUnavailable(
                    f"{self._known} cannot be written: {error.strerror}"
                ) from error


class _Row:
    """The row, locked in a transaction."""

    def __init__(self, store: SqlSigning, connection: AsyncConnection) -> None:
        self._store = store
        self._connection = connection

    async def read(self) -> SigningState:
        return await self._store._read(self._connection)

    async def begin(self, signer: Signer) -> None:
        updated = update(KEYS).where(KEYS.c.subject == LOG).values(key=signer.seed)
        if not (await self._connection.execute(updated)).rowcount:
            await self._connection.execute(insert(KEYS).values(subject=LOG, key=signer.seed))
        await self._write(vkey=signer.verifier.vkey, checkpoint="", cosigned="")

    async def record(self, note: Note) -> None:
        await self._write(checkpoint=str(note))

    async def confirm(self, note: Note) -> None:
        signer = (await self.read()).signer
        assert signer is not None  # noqa: S101 - the caller has checked the note with it
        await self._write(vkey=signer.verifier.vkey, checkpoint=str(note))

    async def record_cosigned(self, note: Note) -> None:
        await self._write(cosigned=str(note))

    async def _write(self, **values: str) -> None:
        """Write the row and its place, which confirms it."""
        place = await database_identity(self._connection)
        number = await transaction_id(self._connection)
        changed = update(SIGNING).where(SIGNING.c.id == 1)
        await self._connection.execute(changed.values(place=f"{place}/{number}", **values))


async def _expected_place(connection: AsyncConnection, row: Any) -> str:
    """The place that the row must name if it was written in this database."""
    place, _, number = row.place.rpartition("/")
    if not number:
        return f"{await database_identity(connection)}/"
    is_written_by_it = number.isdecimal() and int(number) % 2**32 == row.written_by
    return f"{await database_identity(connection)}/{number}" if is_written_by_it else f"not {place}"


def _newest_head(*notes: Note | None) -> TreeHead | None:
    heads = [TreeHead.parse(note) for note in notes if note is not None]
    return max(heads, key=lambda head: head.size, default=None)


def _origin(head: TreeHead | None) -> str | None:
    return None if head is None else head.origin


def _parse_checkpoint(content: str) -> Note | None:
    """The checkpoint in a text, or ``None``."""
    try:
        note = Note.parse(content)
        TreeHead.parse(note)
    except ValueError:
        return None
    return note
