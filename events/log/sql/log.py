"""The log as rows of a database: the lines of a file, byte for byte, one a row.

The life of a batch. An appender locks the one row that holds the end of the log (``SELECT ... FOR
UPDATE``), reads the lines that others appended since, inserts its lines at the next positions,
updates the end, and commits: all in one transaction. So positions are dense and in the order of the
commits, on PostgreSQL as on MySQL, and every readable line is durable.

1. The commit index in the data directory (`events.log.file.commit_index`) holds the newest end of
   the log that this machine has seen; all processes of the machine share it. A process advances it
   after a commit and before it answers, so reads on one machine are linearizable. PostgreSQL
   notifies of appends of other machines; elsewhere they are polled.
2. The commit index outlives the server. A database without the line at its position has lost
   acknowledged events, by a fail-over or an old backup: then it counts as unreachable. This is
   checked before the commit index follows, and on each new connection to PostgreSQL.
3. If the connection is lost during COMMIT, the outcome is unknown, and `events.log.sql.outcome`
   finds it out. If the database refuses the transaction because another one was first, which
   Galera does at COMMIT, nothing was written: `LogConflict`.
4. While the database is unreachable, `position` does not change and reads fail at once, so requests
   are answered from memory; `lost_for` reports it. An append waits for a database that restarts.
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

from events.database.connection import Database
from events.database.drivers import CONNECT_SECONDS
from events.database.failures import (
    ERRORS,
    is_conflict,
    is_lock_timeout,
    reason_of,
    translate_conflicts,
    translate_errors,
)
from events.database.hosts import LostEvents, translate_lost_events
from events.errors import (
    ConfigurationError,
    EventapiError,
    LogConflict,
    LogFenced,
    LogUnavailable,
    LogUnreachable,
    MissingEvents,
)
from events.io.files import FileIdentity, make_directory, permission_hint
from events.io.tasks import cancel_and_wait, wait_uncancellable
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.log.locking import Mutex
from events.log.port import Head
from events.log.sql.continuity import check_continues, check_server
from events.log.sql.outcome import is_committed
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
from events.messages.errors import FILE_GONE
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
"""The interval of polls for the end of the log, with and without notifications of appends."""

_FIRST_RETRY_SECONDS: Final = 0.05
_LONGEST_RETRY_SECONDS: Final = 1.0
"""The pause before a lost database is tried again, which doubles from the first to the longest."""

_DISCONNECT_ERRORS: Final[tuple[type[Exception], ...]] = (*ERRORS, MissingEvents)
_UNREACHABLE: Final = "the database of the log cannot be reached"


def _disconnect_message(error: Exception | None) -> Message:
    """Return the report of a database that does not answer, or that has lost events."""
    lost = DATABASE_LOST.fill(reason=reason_of(error or ConnectionError()))
    return error.message if isinstance(error, EventapiError) else lost


class SqlLog:
    """Lines in a table, shared by any number of processes on any number of machines."""

    def __init__(self, database: Database, index: Path, *, writable: bool = True) -> None:
        """Use `open`."""
        self.database = database
        self._index_identity: FileIdentity | None = None
        self._index_file: int | None = None
        try:
            if writable:
                make_directory(index.parent)
                self._commit_index = CommitIndex(index)
                self._index_file = os.open(index, os.O_RDWR | os.O_CLOEXEC)
                self._index_identity = self._commit_index.identity
            else:
                known = read_commit_point(index) if index.exists() else CommitPoint()
                self._commit_index = CommitIndex.in_memory(index, known)
        except OSError as error:
            reason = f"{error.strerror}{permission_hint(index, error)}"
            raise ConfigurationError(f"the mark {index} cannot be used: {reason}") from error
        self._mutex = Mutex()
        self._connection: AsyncConnection | None = None
        self._lost_at: float | None = None
        self._refusal: MissingEvents | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self.head = Head()

    @classmethod
    async def open(cls, database: Database, index: Path, *, writable: bool = True) -> SqlLog:
        """Open the log of an open database, with this machine's commit index at a path.

        Without ``writable`` the commit index is only read, and not created. Raises
        `ConfigurationError`, `LogUnreachable`, `DamagedCommitIndex`, and `MissingEvents` if the
        database has lost acknowledged events.
        """
        log = cls(database, index, writable=writable)
        try:
            await database.require(
                lambda connection: check_server(connection, log._commit_index.read().head, index)
            )
            with translate_errors(LogUnreachable, "the log"), translate_lost_events():
                async with database.reading.connect() as connection:
                    await log._poll_head(connection)
        except BaseException:
            await log.close()
            raise
        log._follow_task = asyncio.create_task(log._follow(), name="log")
        return log

    @property
    def position(self) -> int:
        return self._commit_index.position

    @property
    def lost_for(self) -> float:
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    # Reading

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        position = max(after, 0)
        last = self.position if upto is None else min(upto, self.position)
        while position < last:
            lines = await self._read_page(position, last)
            if len(lines) < min(last - position, LINES_PER_SELECT):
                missing = position + len(lines) + 1
                raise MissingEvents("acknowledged events are missing", position=missing, offset=0)
            position += len(lines)
            yield lines

    async def _read_page(self, after: int, upto: int) -> list[bytes]:
        """Return the lines after a position up to a missing one; retry a lost connection."""
        for is_last in (False, True):
            if self._lost_at is not None:
                raise LogUnreachable(_UNREACHABLE)
            try:
                async with self.database.reading.connect() as connection:
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
            error = self._refusal or LogUnreachable(_UNREACHABLE)
            raise error.with_traceback(None)
        async with self._mutex.held(timeout):
            connection = await self._connect_and_lock(timeout)
            self._connection = self.database.current_transaction = connection
            try:
                self._check_index_identity()
                yield self
                if self.database.current_transaction is not None:
                    # Commit even without an append, because the vault may have stored keys.
                    with translate_errors(LogUnavailable, "the log"), translate_conflicts():
                        await self.database.commit(connection)
            finally:
                self._connection = self.database.current_transaction = None
                await _release(connection)

    def _check_index_identity(self) -> None:
        """Refuse if the commit index was replaced: other processes would miss a write."""
        try:
            loss = self._index_identity.loss() if self._index_identity else None
        except OSError as error:
            raise LogUnavailable(f"the mark cannot be used: {error.strerror}") from error
        if loss:
            raise LogFenced(FILE_GONE.fill(loss=loss))

    async def _connect_and_lock(self, timeout: float) -> AsyncConnection:
        """Lock the head row in a transaction of a new connection; retry a lost database."""
        deadline = time.monotonic() + timeout
        pause = _FIRST_RETRY_SECONDS
        while True:
            connection = self.database.connection()
            try:
                with translate_lost_events():
                    await connection.start()
                await self._lock(connection)
            except ERRORS as error:
                await _release(connection)
                is_over = time.monotonic() + pause >= deadline
                if is_lock_timeout(error) or is_conflict(error):
                    if is_over:
                        raise LogUnavailable(f"the log was not free within {timeout} s") from None
                    continue
                if is_over:
                    reason = f"the log cannot be reached: {reason_of(error)}"
                    raise LogUnreachable(reason) from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
            except BaseException:
                await _release(connection)
                raise
            else:
                return connection

    async def _lock(self, connection: AsyncConnection) -> None:
        before = self._commit_index.read().head
        head = await head_of(connection, SELECT_HEAD_FOR_UPDATE)
        known = self._commit_index.read().head
        if known.position > head.position:
            # On Galera, another node may have published meanwhile: nothing is lost, but this
            # transaction will be refused.
            known = before
        await check_continues(connection, head, known, self._commit_index.path)
        self._set_connected(is_connected=True)
        self._advance(head)
        self.head = head

    def keep_reserve(self) -> None:
        pass

    async def release_reserve(self) -> bool:
        return False

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        assert self._connection is not None  # noqa: S101 - only under the lock
        if not lines:  # A database reports that it is full only when it is written to.
            return
        writing = asyncio.create_task(self._write(self._connection, lines, head))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The commit cannot be undone, so swallow the cancellation and return its result.
            await wait_uncancellable(writing)
            writing.result()
        self.head = head
        self._advance(head)

    async def _write(self, connection: AsyncConnection, lines: Sequence[bytes], head: Head) -> None:
        """Insert the lines, update the head row and commit; raises as `append` does."""
        with translate_errors(LogUnavailable, "the log"), translate_conflicts():
            if self.database.current_transaction is None:  # The last commit released the lock.
                before = self.head
                await self._lock(connection)
                if self.head != before:
                    raise LogConflict("another process appended between two batches")
            is_committing = False
            try:
                await insert_lines(
                    connection, lines, head, is_postgresql=self.database.is_postgresql
                )
                is_committing = True
                await self.database.commit(connection)
            except ERRORS as error:
                await _release(connection, is_over=False)
                is_refused = not is_committing or is_conflict(error)
                if is_refused or not await is_committed(self.database, head):
                    raise
                logger.warning(COMMIT_ANSWER_LOST.fill(reason=reason_of(error)))
            finally:
                self.database.current_transaction = None

    # Following

    def _advance(self, head: Head) -> None:
        """Publish a newer end of the log to all processes of this machine."""
        if head.position <= self._commit_index.position:
            return
        if self._index_file is None:
            self._commit_index.publish(0, head)
            return
        fcntl.flock(self._index_file, fcntl.LOCK_EX)
        try:
            if head.position > self._commit_index.position:
                self._commit_index.publish(0, head)
        finally:
            fcntl.flock(self._index_file, fcntl.LOCK_UN)

    def _set_connected(self, *, is_connected: bool, error: Exception | None = None) -> None:
        if is_connected:
            if self._lost_at is not None:
                logger.warning(DATABASE_BACK)
            self._lost_at = self._refusal = None
            return
        error = error.error if isinstance(error, LostEvents) else error
        refusal = error if isinstance(error, MissingEvents) else None  # Reported also if lost.
        if self._lost_at is None or (refusal and not self._refusal):
            logger.warning(_disconnect_message(error))
        self._lost_at = self._lost_at or time.monotonic()
        self._refusal = refusal or self._refusal

    async def _follow(self) -> None:
        """Background task: advance the commit index and track if the database is lost."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                async with (
                    self.database.reading.connect() as connection,
                    self._listen(connection),
                ):
                    while True:
                        async with asyncio.timeout(CONNECT_SECONDS):
                            await self._poll_head(connection)
                        self._set_connected(is_connected=True)
                        pause = _FIRST_RETRY_SECONDS
                        await self.database.vacuum()
                        await asyncio.sleep(self._poll_seconds)
            except _DISCONNECT_ERRORS as error:
                self._set_connected(is_connected=False, error=error)
            except Exception as error:
                # A log that is not followed must count as lost, or reads would be stale.
                logger.exception(NOT_FOLLOWED)
                self._set_connected(is_connected=False, error=error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    @property
    def _poll_seconds(self) -> float:
        return _HEARTBEAT_SECONDS if self.database.is_postgresql else _POLL_SECONDS

    async def _poll_head(self, connection: AsyncConnection) -> None:
        known = self._commit_index.read().head
        head = await head_of(connection)
        await check_continues(connection, head, known, self._commit_index.path)
        self._advance(head)

    @asynccontextmanager
    async def _listen(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Inside, advance the commit index on notifications, if the database sends them."""
        if not self.database.is_postgresql:
            yield
            return
        schema = await schema_of(connection)

        def on_notify(payload: str) -> None:
            if (found := parse_notification(payload)) and found[0] == schema:
                self._advance(found[1])

        async with self.database.listen(connection, CHANNEL, on_notify):
            yield

    async def close(self) -> None:
        if self._follow_task is not None:
            await cancel_and_wait(self._follow_task)
        await self.database.require(None)
        self._commit_index.close()
        if self._index_file is not None:
            os.close(self._index_file)


async def _release(connection: AsyncConnection, *, is_over: bool = True) -> None:
    """Roll back, and with ``is_over`` close the connection; ignore a lost one."""
    with suppress(*ERRORS):
        await (connection.close() if is_over else connection.rollback())
