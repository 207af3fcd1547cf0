"""The log as rows of a database: the lines of the file, byte for byte, one a row.

The life of a batch. Whoever appends locks the one row that says where the log ends
(``SELECT ... FOR UPDATE``), reads what others appended before, inserts its lines at the positions
behind, moves the end, and commits: all in one transaction. So positions are dense and in the order
of the commits, on PostgreSQL as on MySQL, and what is readable is durable.

1. What this machine knows of the end of the log stands in a mark in the data directory
   (`events.log.file.commit_index`), which every process here polls and raises. A process that has committed
   raises it before anybody is told, so reads on one machine are linearizable. Other machines tell
   of theirs by NOTIFY, or are asked for it.
2. The mark outlives the server. A database that ends before it has lost events that were
   acknowledged, by a fail-over or an old backup: it is as if it was not there.
3. A connection that is lost in the middle of COMMIT leaves open what became of it. Then the row is
   locked once more, which waits for the end of the other transaction, and shows its outcome.
4. While the database cannot be reached, `position` stands still and reads fail at once, so what is
   known already can be served; `lost_for` tells. Who wants to append waits a while, for a database
   that starts anew is soon back.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import (
    CONNECT_SECONDS,
    ERRORS,
    Database,
    is_lock_timeout,
    reason_of,
    translate_errors,
)
from events.errors import (
    ConfigurationError,
    EventapiError,
    LogFenced,
    LogUnavailable,
    LogUnreachable,
    MissingEvents,
)
from events.io.files import FileIdentity, make_directory, permission_hint
from events.io.tasks import cancel_and_wait, wait_uncancellable
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.log.locking import acquire_within
from events.log.port import Head
from events.log.sql.rows import (
    CHANNEL,
    LINES_PER_SELECT,
    SELECT_HEAD_FOR_UPDATE,
    head_of,
    insert_lines,
    parse_notification,
    schema_of,
    select_lines,
)
from events.messages.errors import COMMIT_UNKNOWN, DATABASE_BEHIND, FILE_GONE
from events.messages.message import Message
from events.messages.server_log import (
    COMMIT_ANSWER_LOST,
    DATABASE_BACK,
    DATABASE_LOST,
    NOT_FOLLOWED,
)

logger = logging.getLogger("events.log")

_HEARTBEAT_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02
"""How often the database is asked where the log ends, if it tells of appends, and if not."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 1.0
"""Between two tries to reach a database that was lost."""

_RESOLVE_SECONDS: Final = 10.0
"""How long it is tried to find out what became of a COMMIT."""

_DISCONNECT_ERRORS: Final[tuple[type[Exception], ...]] = (*ERRORS, MissingEvents)
_UNREACHABLE: Final = "the database of the log cannot be reached"


def _disconnect_message(error: Exception | None) -> Message:
    """The report of a database that does not answer, or that has lost events."""
    if isinstance(error, EventapiError):
        return error.message
    return DATABASE_LOST.fill(reason=reason_of(error or ConnectionError()))


class SqlLog:
    """Lines in a table, shared by any number of processes on any number of machines."""

    def __init__(self, database: Database, mark: Path, *, writable: bool = True) -> None:
        """Use `open`."""
        self._database = self.database = database
        self._mark_identity: FileIdentity | None = None
        self._mark_file: int | None = None
        try:
            if writable:
                make_directory(mark.parent)
                self._mark = CommitIndex(mark)
                self._mark_file = os.open(mark, os.O_RDWR | os.O_CLOEXEC)
                self._mark_identity = self._mark.place
            else:
                known = read_commit_point(mark) if mark.exists() else CommitPoint()
                self._mark = CommitIndex.in_memory(mark, known)
        except OSError as error:
            reason = (
                f"the mark {mark} cannot be used: {error.strerror}{permission_hint(mark, error)}"
            )
            raise ConfigurationError(reason) from error
        self._mutex = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._lost_at: float | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self.head = Head()

    @classmethod
    async def open(cls, database: Database, mark: Path, *, writable: bool = True) -> SqlLog:
        """The log of an open database; what this machine knows of it stands in the mark.

        Without ``writable`` the mark is only read, and none is made. Raises `ConfigurationError`, `LogUnreachable`, `DamagedLog` for a mark that is none, and
        `MissingEvents` where the database has lost what was acknowledged.
        """
        log = cls(database, mark, writable=writable)
        try:
            with translate_errors(LogUnreachable, "the log"):
                async with database.reading.connect() as connection:
                    await log._poll_head(connection)
            known = log._mark.read().head
            lines = await log._page(known.position - 1, known.position)
            if known.position and not any(known.matches(line) for line in lines):
                raise log._missing_events(known)
        except BaseException:
            await log.close()
            raise
        log._follow_task = asyncio.create_task(log._follow(), name="log")
        return log

    def _missing_events(self, known: Head) -> MissingEvents:
        return MissingEvents(
            DATABASE_BEHIND.fill(events=known.position, mark=self._mark.path),
            position=known.position,
            offset=0,
        )

    @property
    def position(self) -> int:
        return self._mark.position

    @property
    def lost_for(self) -> float:
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    # Reading

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        position = max(after, 0)
        last = self.position if upto is None else min(upto, self.position)
        while position < last:
            lines = await self._page(position, last)
            if len(lines) < min(last - position, LINES_PER_SELECT):
                missing = position + len(lines) + 1
                raise MissingEvents("acknowledged events are missing", position=missing, offset=0)
            position += len(lines)
            yield lines

    async def _page(self, after: int, upto: int) -> list[bytes]:
        """Lines behind a position, up to where one is missing; a lost connection is tried again."""
        for is_last in (False, True):
            if self._lost_at is not None:
                raise LogUnreachable(_UNREACHABLE)
            try:
                async with self._database.reading.connect() as connection:
                    rows = await select_lines(connection, after, upto)
                    break
            except ERRORS as error:
                if is_last:
                    reason = f"the log cannot be reached: {reason_of(error)}"
                    raise LogUnreachable(reason) from error
        return [row.line for row, at in zip(rows, count(after + 1)) if row.position == at]

    # Writing

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[SqlLog]:
        if self.lost_for > timeout:
            raise LogUnreachable(_UNREACHABLE)
        async with acquire_within(self._mutex, timeout):
            connection = await self._connect_and_lock(timeout)
            self._connection = self._database.current_transaction = connection
            try:
                self._check_mark_identity()
                yield self
                if self._database.current_transaction is not None:
                    # Nothing was appended, but keys may have been put.
                    with translate_errors(LogUnavailable, "the log"):
                        await connection.commit()
            finally:
                self._connection = self._database.current_transaction = None
                await _release(connection)

    def _check_mark_identity(self) -> None:
        """The processes of this machine must share one mark, or a read would miss a write."""
        try:
            loss = self._mark_identity.loss() if self._mark_identity else None
        except OSError as error:
            raise LogUnavailable(f"the mark cannot be used: {error.strerror}") from error
        if loss:
            raise LogFenced(FILE_GONE.fill(loss=loss))

    async def _connect_and_lock(self, timeout: float) -> AsyncConnection:
        """A connection whose transaction has the head row; a lost database is tried again."""
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE_SECONDS
        while True:
            connection = self._database.connection()
            try:
                await connection.start()
                await self._lock(connection)
            except ERRORS as error:
                await _release(connection)
                is_over = time.monotonic() + pause >= deadline
                if is_lock_timeout(error):
                    if is_over:
                        raise LogUnavailable(f"the log was not free within {timeout} s") from None
                    continue
                if is_over:
                    reason = f"the log cannot be reached: {reason_of(error)}"
                    raise LogUnreachable(reason) from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            except BaseException:
                await _release(connection)
                raise
            else:
                return connection

    async def _lock(self, connection: AsyncConnection) -> None:
        head, known = await head_of(connection, SELECT_HEAD_FOR_UPDATE), self._mark.read().head
        if head.position < known.position or (
            head.position == known.position and head.hash != known.hash
        ):
            raise self._missing_events(known)
        self._set_connected(is_lost=False)
        self._advance(head)
        self.head = head

    def keep_reserve(self) -> None:
        pass

    async def release_reserve(self) -> bool:
        return False

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        assert self._connection is not None  # noqa: S101 - only under the lock
        writing = asyncio.create_task(self._write(self._connection, lines, head))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # What is committed cannot be taken back, so it is told, and the caller goes on.
            await wait_uncancellable(writing)
            writing.result()
        self.head = head
        self._advance(head)

    async def _write(self, connection: AsyncConnection, lines: Sequence[bytes], head: Head) -> None:
        """Insert, move the end and commit; raises as `append` does."""
        with translate_errors(LogUnavailable, "the log"):
            if self._database.current_transaction is None:  # A commit has let the lock go.
                before = self.head
                await self._lock(connection)
                if self.head != before:
                    raise LogUnavailable("another one appended meanwhile")
            is_committing = False
            try:
                await insert_lines(
                    connection, lines, head, is_postgresql=self._database.is_postgresql
                )
                is_committing = True
                await connection.commit()
            except ERRORS as error:
                await _release(connection, is_over=False)
                if not is_committing or not await self._is_committed(head):
                    raise
                logger.warning(COMMIT_ANSWER_LOST.fill(reason=reason_of(error)))
            finally:
                self._database.current_transaction = None

    async def _is_committed(self, head: Head) -> bool:
        """Whether a transaction of unknown outcome came to its end; see 3. above."""
        deadline = time.monotonic() + _RESOLVE_SECONDS
        while time.monotonic() < deadline:
            with suppress(*ERRORS):
                async with (
                    asyncio.timeout(deadline - time.monotonic()),
                    self._database.connection() as connection,
                ):
                    await head_of(connection, SELECT_HEAD_FOR_UPDATE)
                    rows = await select_lines(connection, head.position - 1, head.position)
                    return any(head.matches(row.line) for row in rows)
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
        raise LogUnavailable(COMMIT_UNKNOWN)

    # Following

    def _advance(self, head: Head) -> None:
        """Tell all processes of this machine how far the log goes."""
        if head.position <= self._mark.position:
            return
        if self._mark_file is None:
            self._mark.publish(0, head)
            return
        fcntl.flock(self._mark_file, fcntl.LOCK_EX)
        try:
            if head.position > self._mark.position:
                self._mark.publish(0, head)
        finally:
            fcntl.flock(self._mark_file, fcntl.LOCK_UN)

    def _set_connected(self, *, is_lost: bool, error: Exception | None = None) -> None:
        if is_lost and self._lost_at is None:
            self._lost_at = time.monotonic()
            logger.warning(_disconnect_message(error))
        elif not is_lost and self._lost_at is not None:
            self._lost_at = None
            logger.warning(DATABASE_BACK)

    async def _follow(self) -> None:
        """Keep the mark up to date, and know whether the database is there, until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with (
                    self._database.reading.connect() as connection,
                    self._listen(connection),
                ):
                    while True:
                        async with asyncio.timeout(CONNECT_SECONDS):
                            await self._poll_head(connection)
                        self._set_connected(is_lost=False)
                        pause = _FIRST_PAUSE_SECONDS
                        await self._database.vacuum()
                        await asyncio.sleep(self._poll_seconds)
            except _DISCONNECT_ERRORS as error:
                self._set_connected(is_lost=True, error=error)
            except Exception as error:
                # Who does not follow any more must not seem to.
                logger.exception(NOT_FOLLOWED)
                self._set_connected(is_lost=True, error=error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    @property
    def _poll_seconds(self) -> float:
        return _HEARTBEAT_SECONDS if self._database.is_postgresql else _POLL_SECONDS

    async def _poll_head(self, connection: AsyncConnection) -> None:
        known = self._mark.read().head
        head = await head_of(connection)
        if head.position < known.position:
            raise self._missing_events(known)
        self._advance(head)

    @asynccontextmanager
    async def _listen(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """While within, hear of the appends of others where the database tells of them."""
        if not self._database.is_postgresql:
            yield
            return
        schema = await schema_of(connection)

        def heard(word: str) -> None:
            if (told := parse_notification(word)) and told[0] == schema:
                self._advance(told[1])

        async with self._database.listen(connection, CHANNEL, heard):
            yield

    async def close(self) -> None:
        if self._follow_task is not None:
            await cancel_and_wait(self._follow_task)
        self._mark.close()
        if self._mark_file is not None:
            os.close(self._mark_file)


async def _release(connection: AsyncConnection, *, is_over: bool = True) -> None:
    """Roll back, and give the connection back; what is lost already is given up."""
    with suppress(*ERRORS):
        await (connection.close() if is_over else connection.rollback())
