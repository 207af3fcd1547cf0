"""The log as a JSON-lines file.

The crash contract. Files: ``events.jsonl``, its lock ``events.jsonl.lock``, its mark
``events.jsonl.mark`` (see `events.log.file.commit_index`), its reserve ``events.jsonl.reserve`` (see
`events.log.file.reserve`), and ``quarantine/``.

1. An append takes the lock (``flock``) in its turn: one writer at a time in all processes.
2. It writes at the offset that the mark tells, then calls ``fdatasync``, and only then publishes
   the new offset in the mark. Nobody reads past the mark, so nobody reads what is not durable.
3. A process that dies between the two leaves bytes past the mark. Whoever locks next finds the
   file longer than the mark and recovers before anything else: whole, chained lines are kept,
   synced and published; a torn rest is moved to ``quarantine/`` and cut off. They are written once
   more before they are synced: the one who died may have died of a sync that failed.
4. Where bytes below the mark are gone, or a whole record follows a damaged one, nothing is changed
   and nothing is started; unless they are of one batch, of which the disk wrote the end before the
   beginning when the power was cut. Then no line of it was acknowledged; see
   `events.log.file.recovery`.
5. After a failed ``fdatasync`` the kernel may call the next one a success without having written
   anything. So there is no second try: the fence goes up in the mark, every process that was
   running refuses to write for ever, and the next start cuts back to the mark, below which
   everything was synced before. A sync that fails in a recovery fences too, but costs no lines: a
   mark lags after a power cut, and the lines past it may have been acknowledged.
6. A write that found no room is cut back to the mark and refused; the next one may succeed. The
   cut is synced, or what was refused could be back after a power cut.
7. A task that is cancelled while its append is being written waits for the write to end, cuts it
   off again as in 6 and only then lets the lock go: nobody else may find a writer at work.
8. An append that takes rights away and finds no room is cut back as in 6, releases the reserve and
   is written once more. Until the reserve is whole again, other appends are refused as in 6. The
   reserve is only used under the lock, or by the vault; a crash in between leaves it released, and
   the next append of other events fills it. It has no part in recovery.
8. What is written to a file that was removed or replaced is gone with the process, and two files of
   the same name are two locks. So under the lock every append compares log, mark and lock with
   what lies at their paths, and is refused, as after 5, if one of them is another file.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import aiofiles

from events.errors import (
    ConfigurationError,
    DamagedLog,
    LogFenced,
    LogUnavailable,
    MissingEvents,
    StorageFull,
)
from events.io.files import (
    FileIdentity,
    make_directory,
    open_or_make,
    permission_hint,
    sync_directory,
    write_durably,
)
from events.io.tasks import wait_uncancellable
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.log.file.paths import commit_index_path, lock_path, reserve_path
from events.log.file.recovery import Tail, recover_tail
from events.log.file.reserve import NO_ROOM, Reserve
from events.log.locking import acquire_within
from events.log.port import Head
from events.messages.errors import (
    FILE_GONE,
    LOG_FILE_GONE,
    LOG_FILE_LOST,
    NAME_LOG,
    NO_LOG,
    NOT_A_LOG,
    NOT_A_REGULAR_FILE,
)
from events.messages.message import Message
from events.messages.server_log import LOCK_NOT_RELEASED, NO_MARK, TAIL_CUT, TAIL_KEPT

logger = logging.getLogger("events.log")

CHUNK_BYTES: Final = 1 << 20
PIECE_BYTES: Final = 1 << 17
"""How much is read at once, and how much of it is handed on at once."""

_SMALL_BYTES: Final = 1 << 16
"""Up to here a read is done in place: the bytes were written a moment ago and are in memory."""

_INDEX_EVERY: Final = 256
"""Positions between two entries of the offset index."""

_TURN_PAUSE_SECONDS: Final = 0.0005
_LOCK_PAUSE_SECONDS: Final = 0.0001
"""Between two looks at a lock that another one has: many may wait for the turn, one with it."""

_FIRST_BYTES: Final = b'{"specversion":"1.0","id":"1",'
"""What every log begins with."""

_NO_ROOM: Final = NO_ROOM | {errno.EFBIG}
_PAGE: Final = 4096


def _locked(descriptor: int) -> bool:
    """Lock a file, or say that another one has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(descriptor: int) -> None:
    """Unlock a file; where that fails, what was done under the lock is done all the same."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        logger.critical(LOCK_NOT_RELEASED.fill(reason=error.strerror))


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Around what is done with the files, and refuses nothing that was already done."""
    try:
        yield
    except OSError as error:
        raise LogUnavailable(f"the log cannot be used: {error.strerror}") from error


def check_is_log(path: Path) -> None:
    """Refuse somebody else's file: taken for a log, all of it would be a torn tail and cut off.

    A file of ours without a mark is a copy, or lost its mark, and begins as a log does.
    """
    if not path.is_file():
        raise ConfigurationError(NOT_A_REGULAR_FILE.fill(path=path))
    with path.open("rb") as file:
        begins = file.readline(len(_FIRST_BYTES))
    if not _FIRST_BYTES.startswith(begins):
        raise DamagedLog(NOT_A_LOG.fill(path=path), position=1, offset=0)


def _tail_report(published: CommitPoint, tail: Tail) -> Message:
    """The report of a tail that was kept; a mark without events is one that was just made."""
    if published.head.position == 0:
        return NO_MARK.fill(events=tail.head.position)
    return TAIL_KEPT.fill(
        events=tail.head.position - published.head.position, bytes=tail.offset - published.offset
    )


def _check_is_not_lost(path: Path, mark: Path, *, begin: bool) -> None:
    """Refuse to begin a log that was not to be begun, or of which a mark is left."""
    if not begin:
        raise ConfigurationError(NO_LOG.fill(place=path, advice=NAME_LOG))
    if mark.exists() and (position := read_commit_point(mark).head.position):
        raise MissingEvents(LOG_FILE_LOST.fill(events=position), position=1, offset=0)


class JsonlLog:
    """Lines in a file, shared by any number of processes on one machine."""

    lost_for: Final = 0.0

    def __init__(self, path: Path, *, begin: bool = True) -> None:
        """Open the log; with ``begin`` it is made where there is none.

        Raises `ConfigurationError` where there is no log to open or the directory cannot be used,
        `MissingEvents` where only the mark is left of it, `DamagedCommitIndex` where the mark is no mark,
        and `DamagedLog` where the file never was a log. A refused opening creates nothing. What
        else is in the log is looked at when it is read or locked.
        """
        self.path = path
        mark = commit_index_path(path)
        lock = lock_path(path)
        try:
            if not path.exists():
                _check_is_not_lost(path, mark, begin=begin)
                make_directory(path.parent)
            elif not mark.exists():
                check_is_log(path)
            # First, because it is refused where the name is taken by a link or a directory.
            self._file = open_or_make(path, os.O_RDWR)
            self._mark = CommitIndex(mark)
            self._lock_file = open_or_make(lock, os.O_RDWR)
            sync_directory(path.parent)
            self._places = (
                (FileIdentity(path, os.fstat(self._file)), LOG_FILE_GONE),
                (self._mark.place, FILE_GONE),
                (FileIdentity(lock, os.fstat(self._lock_file)), FILE_GONE),
            )
        except OSError as error:
            # Not the log itself where its mark or its lock is in the way.
            found = Path(error.filename) if error.filename else path
            hint = permission_hint(found, error)
            reason = f"the log {path} cannot be opened for writing: {error.strerror}"
            reason += f" ({found}){hint}" if found != path else hint
            raise ConfigurationError(reason) from error
        self._fence = self._mark.fence
        self._is_settled = False
        self._reserve = Reserve(reserve_path(path))
        self._mutex = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._start_index()
        self.head = Head()
        self._offset = 0

    def _start_index(self) -> None:
        self._index_positions = [0]
        self._index_offsets = [0]
        self._cursor = (0, 0)

    @property
    def position(self) -> int:
        return self._mark.position

    # Reading

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        # The polled word says how far, not the newest slot: that may tell of what its writer, who
        # may be dead, has not told everybody yet. Who showed it would be ahead of all others.
        position = self._mark.position
        published = self._mark.read()
        after = max(after, 0)
        last = position if upto is None else min(upto, position)
        if after >= last:
            return
        position, offset = self._nearest(after)
        rest = b""
        end = self._beyond(last, published.offset)
        async with aclosing(self._chunks(offset, end)) as chunks:
            async for chunk in chunks:
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                first, position = position, position + len(lines)
                offset += sum(map(len, lines)) + len(lines)
                self._remember(position, offset)
                if position > after and lines:
                    yield lines[max(after - first, 0) : last - first]
                if position >= last:
                    return
        raise MissingEvents("acknowledged events are missing", position=position + 1, offset=offset)

    async def _chunks(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        with _translate_errors():
            if end - start <= _SMALL_BYTES:
                yield os.pread(self._file, end - start, start)
                return
            async with aiofiles.open(self.path, "rb", buffering=0) as file:
                await file.seek(start)
                while start < end and (chunk := await file.read(min(CHUNK_BYTES, end - start))):
                    start += len(chunk)
                    # Handed on in pieces: what is made of one then stays in the processor's cache.
                    for at in range(0, len(chunk), PIECE_BYTES):
                        yield chunk[at : at + PIECE_BYTES]

    def _nearest(self, position: int) -> tuple[int, int]:
        """The nearest known place at or before a position, as (position, byte offset)."""
        at = bisect_right(self._index_positions, position) - 1
        found = (self._index_positions[at], self._index_offsets[at])
        return self._cursor if found[0] < self._cursor[0] <= position else found

    def _beyond(self, position: int, end: int) -> int:
        """Where a read up to a position may stop: what is known to be behind it, or the end."""
        at = bisect_left(self._index_positions, position)
        return self._index_offsets[at] if at < len(self._index_offsets) else end

    def _remember(self, position: int, offset: int) -> None:
        if position >= self._index_positions[-1] + _INDEX_EVERY:
            self._index_positions.append(position)
            self._index_offsets.append(offset)
        if position > self._cursor[0]:
            self._cursor = (position, offset)

    # Writing

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[JsonlLog]:
        deadline = time.monotonic() + timeout
        async with acquire_within(self._mutex, timeout):
            try:
                with _translate_errors():
                    await self._flock(deadline, timeout)
                    self._check_places()
                    self._check_fence()
                    self._recover()
                yield self
            finally:
                _release(self._lock_file)

    async def _flock(self, deadline: float, timeout: float) -> None:
        """Take the lock, in turn.

        Whoever wants it first takes the turn, a lock on the log's own file, and lets it go once the
        lock is theirs. So a busy process, which is back for the lock in no time, does not overtake
        the one that waits for it.
        """
        if _locked(self._file) and self._locked_in_turn():
            _release(self._file)
            return
        # Polled in a thread, because a blocking flock could not be given up in time, and the
        # event loop's clock is too coarse for how short a lock is held.
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        polling = loop.run_in_executor(self._thread, self._poll_flock, deadline, given_up)
        try:
            locked = await asyncio.shield(polling)
        except asyncio.CancelledError:
            given_up.set()
            await wait_uncancellable(polling)
            raise
        if not locked:
            raise LogUnavailable(f"the log was not free within {timeout} s")

    def _locked_in_turn(self) -> bool:
        """Lock the log if nobody has it; the turn is kept, save where there is no locking at all."""
        try:
            return _locked(self._lock_file)
        except OSError:
            _release(self._file)
            raise

    def _poll_flock(self, deadline: float, given_up: threading.Event) -> bool:
        pause = _TURN_PAUSE_SECONDS
        try:
            for descriptor in (self._file, self._lock_file):
                while not _locked(descriptor):
                    if time.monotonic() >= deadline or given_up.is_set():
                        return False
                    time.sleep(pause)
                pause = _LOCK_PAUSE_SECONDS
            return True
        finally:
            _release(self._file)

    def _check_places(self) -> None:
        """Refuse to write to files that lost their names: all of it would be gone at the end."""
        for place, message in self._places:
            if loss := place.loss():
                raise LogFenced(message.fill(loss=loss))

    def _check_fence(self) -> None:
        if self._mark.fence != self._fence:
            raise LogFenced("a sync of the log failed; only a restart recovers from that")

    def _recover(self) -> None:
        """Bring the file's end and the mark together; see the crash contract."""
        published = self._mark.read()
        size = os.fstat(self._file).st_size
        if size < published.offset:
            raise MissingEvents(
                f"the file has {size:,} bytes, but {published.offset:,} are acknowledged",
                position=published.head.position,
                offset=size,
            )
        try:
            if self._mark.needs_recovery:
                self._renew(max(published.offset - _PAGE, 0), published.offset)
                self._cut(published.offset, size)
            elif size > published.offset:
                published = self._adopt_tail(published, size)
            if not self._is_settled:
                with self._fencing():
                    self._mark.set_recovered()
                self._is_settled = True
        except OSError as error:
            self._refuse(error)
        if self._mark.position != published.head.position:
            # A writer died between a slot of the mark and the word that readers poll.
            self._mark.publish(published.offset, published.head)
        self.head = published.head
        self._offset = published.offset

    def _adopt_tail(self, published: CommitPoint, size: int) -> CommitPoint:
        with open(self._file, "rb", closefd=False) as file:
            file.seek(published.offset)
            tail = recover_tail(file, published.offset, published.head)
        self._renew(published.offset, tail.offset)
        self._cut(tail.offset, size, keep_tail=True)
        if tail.head != published.head:
            logger.warning(_tail_report(published, tail))
            self._mark.publish(tail.offset, tail.head)
        return CommitPoint(tail.offset, tail.head)

    def _renew(self, start: int, end: int) -> None:
        """Write these bytes again: a sync that failed may have torn them, or left them, unwritten.

        The kernel takes what it failed to write for written, and the next sync would pass it over.
        """
        for at in range(start, end, CHUNK_BYTES):
            self._write_all(os.pread(self._file, min(CHUNK_BYTES, end - at), at), at)

    def _write_all(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            view = view[written:]
            offset += written

    def _cut(self, offset: int, size: int, *, keep_tail: bool = False) -> None:
        """Move what stands behind ``offset`` to the quarantine, and sync the file."""
        if size > offset:
            quarantine = self.path.parent / "quarantine"
            make_directory(quarantine)
            kept = quarantine / f"{self.path.name}-{offset}-{time.time_ns()}"
            write_durably(kept, os.pread(self._file, size - offset, offset))
            os.ftruncate(self._file, offset)
            logger.warning(TAIL_CUT.fill(bytes=size - offset, path=kept))
        with self._fencing(keep_tail=keep_tail):
            os.fdatasync(self._file)

    def keep_reserve(self) -> None:
        self._reserve.make()

    async def release_reserve(self) -> bool:
        with _translate_errors():
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._reserve.release
            )

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        self._check_fence()
        data = b"\n".join((*lines, b""))
        write = self._write_revocations if revokes else self._write_others
        writing = asyncio.get_running_loop().run_in_executor(self._thread, write, data)
        try:
            await asyncio.shield(writing)
        except OSError as error:
            self._refuse(error)
        except asyncio.CancelledError:
            await wait_uncancellable(writing)
            if writing.exception() is None:
                with suppress(
                    OSError
                ):  # Then recovery finds the lines past the mark, and keeps them.
                    self._take_back()
            raise
        self._offset += len(data)
        self.head = head
        self._mark.publish(self._offset, head)
        self._remember(head.position, self._offset)

    def _write_others(self, data: bytes) -> None:
        """Write what may not use the reserve."""
        self._reserve.fill()
        self._write(data)

    def _write_revocations(self, data: bytes) -> None:
        """Write what may use the reserve."""
        try:
            self._write(data)
        except OSError as error:
            if error.errno not in NO_ROOM or not self._reserve.release():
                raise
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Write all of ``data`` at the end and sync it, or leave the file as it was."""
        try:
            self._write_all(data, self._offset)
        except OSError:
            self._take_back()
            raise
        with self._fencing():
            os.fdatasync(self._file)

    def _take_back(self) -> None:
        """Cut off what was written since the last append."""
        os.ftruncate(self._file, self._offset)
        with self._fencing():
            os.fdatasync(self._file)

    @contextmanager
    def _fencing(self, *, keep_tail: bool = False) -> Iterator[None]:
        """Around a sync: there is no second try after one that failed."""
        try:
            yield
        except OSError as error:
            self._mark.raise_fence(keep_tail=keep_tail)
            raise LogFenced(f"a sync of the log failed: {error.strerror}") from error

    def _refuse(self, error: OSError) -> NoReturn:
        if error.errno in _NO_ROOM:
            raise StorageFull(f"no room for the log: {error.strerror}") from error
        raise LogUnavailable(f"the log cannot be written: {error.strerror}") from error

    async def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._mark.close()
        self._reserve.close()
        for descriptor in (self._lock_file, self._file):
            with suppress(OSError):  # All that was acknowledged is synced.
                os.close(descriptor)
