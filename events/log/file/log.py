"""The log as a JSON-lines file.

The crash contract. Files: ``events.jsonl``, its lock ``events.jsonl.lock`` (see
`events.log.file.lock`), its commit index ``events.jsonl.mark`` (see
`events.log.file.commit_index`), its reserve ``events.jsonl.reserve`` (see
`events.log.file.reserve`), and ``quarantine/``.

1. An append acquires the lock (``flock``) in turn: one writer at a time in all processes.
2. It writes at the offset that the commit index holds, then calls ``fdatasync``, and only then
   publishes the new offset in the commit index. No reader reads past it, so no reader sees a line
   that is not durable.
3. A process that dies between the two leaves bytes past the commit index. The next process that
   acquires the lock finds the file longer than the commit index and recovers before anything else:
   it keeps whole, chained lines, syncs and publishes them, and moves a torn rest to
   ``quarantine/``. It writes the kept lines once more before it syncs them, because the process may
   have died of a sync that failed.
4. Where bytes below the commit index are missing, or a whole record follows a damaged one, recovery
   changes nothing and the log cannot be used; unless both are of one batch, of which the disk wrote
   the end before the beginning when the power was cut. Then no line of the batch was acknowledged;
   see `events.log.file.recovery`.
5. After a failed ``fdatasync`` the kernel may report success for the next one without having
   written anything. So there is no second try: the fence is raised in the commit index, every
   process that was running refuses to write until it is restarted, and the next start cuts the file
   back to the commit index, below which everything was synced before. A sync that fails in a
   recovery raises the fence too, but costs no lines: a commit index lags after a power cut, and the
   lines past it may have been acknowledged.
6. A write that finds no room is cut back to the commit index and refused; the next one may succeed.
   The cut is synced, or a power cut could bring back the refused lines.
7. A task that is cancelled during its append waits for the write to end, cuts it off again as in 6,
   and only then releases the lock: the next writer must not find another write under way.
8. An append that takes rights away and finds no room is cut back as in 6, releases the reserve and
   is written once more. Until the reserve is whole again, other appends are refused as in 6. The
   reserve is only used under the lock, or by the vault; a crash in between leaves it released, and
   the next append of other events fills it. Recovery does not use it.
9. Bytes written to a file that was removed or replaced are lost with the process, and two lock
   files of the same name are two locks. So every append compares, under the lock, the open log,
   commit index and lock with the files at their paths, and is refused, as after 5, if one differs.
10. The first part of a log that has grown is closed: moved to a compressed file, see
    `events.log.file.closing`. Then another file is at the path, and is the same log if it begins
    after the closed lines, and has the published line in its place.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

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
from events.io.threads import WorkerThread
from events.log.file.commit_index import CommitIndex, CommitPoint
from events.log.file.lines import BYTES_PER_READ, PublishedLines, translate_errors
from events.log.file.lock import FileLock
from events.log.file.opening import check_is_log, check_may_begin
from events.log.file.paths import commit_index_path, lock_path, reserve_path
from events.log.file.recovery import Tail, recover_tail
from events.log.file.reserve import NO_ROOM, Reserve
from events.log.file.segments import SegmentedFile
from events.log.locking import Mutex
from events.log.port import Head
from events.messages.errors import FILE_GONE, LOG_FILE_GONE
from events.messages.message import Message
from events.messages.server_log import NO_MARK, TAIL_CUT, TAIL_KEPT

logger = logging.getLogger("events.log")

_NO_ROOM: Final = NO_ROOM | {errno.EFBIG}
_PAGE_BYTES: Final = 4096


def _kept_tail_message(published: CommitPoint, tail: Tail) -> Message:
    """Report a kept tail; a commit index without events is one that was just created."""
    if published.head.position == 0:
        return NO_MARK.fill(events=tail.head.position)
    return TAIL_KEPT.fill(
        events=tail.head.position - published.head.position, bytes=tail.offset - published.offset
    )


class JsonlLog(PublishedLines):
    """Lines in a file, shared by any number of processes on one machine."""

    _flags = os.O_RDWR

    def __init__(self, path: Path, *, begin: bool = True) -> None:
        """Open the log; with ``begin``, create it if there is none.

        Raises `ConfigurationError` if there is no log to open or the directory cannot be used,
        `MissingEvents` if only the commit index of a log is left, `DamagedCommitIndex` if that is
        none, and `DamagedLog` if the file never was a log. A refused opening creates nothing. The
        rest of the log is checked when it is read or locked.
        """
        try:
            if not path.exists():
                check_may_begin(path, begin=begin)
                make_directory(path.parent)
            elif not commit_index_path(path).exists():
                check_is_log(path)
            # Before the other files, because this is refused if the path is a link or a directory.
            file = SegmentedFile(path, open_or_make(path, self._flags))
            super().__init__(path, file, CommitIndex(commit_index_path(path)))
            self._lock_file = open_or_make(lock_path(path), os.O_RDWR)
            sync_directory(path.parent)
            self._identity = FileIdentity(path, os.fstat(file.descriptor))
            self._lock_identity = FileIdentity(lock_path(path), os.fstat(self._lock_file))
        except OSError as error:
            # The cause may be the commit index or the lock instead of the log.
            found = Path(error.filename) if error.filename else path
            hint = permission_hint(found, error)
            reason = f"the log {path} cannot be opened for writing: {error.strerror}"
            reason += f" ({found}){hint}" if found != path else hint
            raise ConfigurationError(reason) from error
        self._fence = self._commit_index.fence
        self._is_name_synced = not file.segments
        self._has_recovered = False
        self._reserve = Reserve(reserve_path(path))
        self._mutex = Mutex()
        self._thread = WorkerThread("log")
        self._lock = FileLock(self._lock_file, self._thread)
        self.head = Head()
        self._offset = 0

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[JsonlLog]:
        deadline = time.monotonic() + timeout
        async with self._mutex.held(timeout):
            try:
                with translate_errors(), self._file.held() as file:
                    if not await self._lock.acquire(file.descriptor, deadline):
                        raise LogUnavailable(f"the log was not free within {timeout} s")
                    self._check_identities()
                    self._check_fence()
                    self._recover()
                yield self
            finally:
                self._lock.release()

    def _check_identities(self) -> None:
        """Refuse to write to files without a name: their content is lost when closed."""
        identities = (
            (self._identity, LOG_FILE_GONE),
            (self._commit_index.identity, FILE_GONE),
            (self._lock_identity, FILE_GONE),
        )
        for identity, message in identities:
            loss = identity.loss()
            if loss and not (identity is self._identity and self._has_followed_closing(loss)):
                raise LogFenced(message.fill(loss=loss))
        if not self._is_name_synced:
            # The process that cut the open file may have died before it synced its name.
            with self._fence_on_error(keep_tail=True):
                sync_directory(self.path.resolve().parent)
            self._is_name_synced = True

    def _has_followed_closing(self, loss: str) -> bool:
        """Whether the file at the path is the log from which segments were closed.

        Raises `LogFenced` with the reason if that file is damaged.
        """
        try:
            return self._follow_closing(self._commit_index.read())
        except FileNotFoundError:
            return False
        except DamagedLog as error:
            raise LogFenced(LOG_FILE_GONE.fill(loss=f"{loss} ({error.reason})")) from error

    def _use(self, file: SegmentedFile) -> None:
        super()._use(file)
        self._identity = FileIdentity(self.path, os.fstat(file.descriptor))
        self._is_name_synced = False

    def _check_fence(self) -> None:
        if self._commit_index.fence != self._fence:
            raise LogFenced("a sync of the log failed; only a restart recovers from that")

    # Recovery

    def _recover(self) -> None:
        """Make the end of the file and the commit index agree; see the crash contract."""
        published = self._commit_index.read()
        size = self._file.size
        if size < published.offset:
            raise MissingEvents(
                f"the file has {size:,} bytes, but {published.offset:,} are acknowledged",
                position=published.head.position,
                offset=size,
            )
        try:
            if not self._has_recovered:
                self._file.check_place(published)
            tail = self._find_tail(published, size)
            if not self._has_recovered:
                self._file.check_newest(tail.head)
            if self._commit_index.needs_recovery:
                self._rewrite(max(published.offset - _PAGE_BYTES, 0), published.offset)
                self._cut_tail(published.offset, size)
            elif size > published.offset:
                published = self._adopt_tail(published, tail, size)
            if not self._has_recovered:
                with self._fence_on_error():
                    self._commit_index.set_recovered()
                self._has_recovered = True
        except OSError as error:
            self._raise_refusal(error)
        if self._commit_index.position != published.head.position:
            # A writer died after it stored a slot and before it stored the word that readers poll.
            self._commit_index.publish(published.offset, published.head)
        self.head = published.head
        self._offset = published.offset

    def _find_tail(self, published: CommitPoint, size: int) -> Tail:
        """The whole lines past the commit index, of which a failed sync leaves none."""
        if size == published.offset or self._commit_index.needs_recovery:
            return Tail(published.offset, published.head)
        lines = self._file.stream(published.offset)
        return recover_tail(lines, published.offset, published.head)

    def _adopt_tail(self, published: CommitPoint, tail: Tail, size: int) -> CommitPoint:
        """Keep and publish the whole lines past the commit index, and cut off the rest."""
        self._rewrite(published.offset, tail.offset)
        self._cut_tail(tail.offset, size, keep_tail=True)
        if tail.head != published.head:
            logger.warning(_kept_tail_message(published, tail))
            self._commit_index.publish(tail.offset, tail.head)
        return CommitPoint(tail.offset, tail.head)

    def _rewrite(self, start: int, end: int) -> None:
        """Write these bytes once more: a failed sync may have left them torn.

        The kernel considers pages that it failed to write as clean; the next sync would skip them.
        """
        # Closed segments were synced before lines were cut off from the open file.
        for at in range(max(start, self._file.base), end, BYTES_PER_READ):
            self._write_all(self._file.pread(min(BYTES_PER_READ, end - at), at), at)

    def _cut_tail(self, offset: int, size: int, *, keep_tail: bool = False) -> None:
        """Move the bytes from ``offset`` on to the quarantine, and sync the file."""
        if size > offset:
            self._file.check_cut(offset)
            quarantine = self.path.parent / "quarantine"
            make_directory(quarantine)
            kept = quarantine / f"{self.path.name}-{offset}-{time.time_ns()}"
            write_durably(kept, self._file.pread(size - offset, offset))
            self._file.truncate(offset)
            logger.warning(TAIL_CUT.fill(bytes=size - offset, path=kept))
        with self._fence_on_error(keep_tail=keep_tail):
            self._file.sync()

    # Closing segments

    def cut(self, replacement: Path, offset: int) -> None:
        """Replace the open file by one without the lines before ``offset``.

        They are in closed segments. ``replacement`` has the first bytes from there on, and gets the
        rest. Only for the holder of the lock, in a thread. The next append or read uses the new
        file, as in other processes. Raises `OSError`, and then nothing changed, and `LogFenced`.
        """
        with replacement.open("ab") as file:
            for at in range(offset + file.tell(), self._offset, BYTES_PER_READ):
                file.write(self._file.pread(min(BYTES_PER_READ, self._offset - at), at))
            file.flush()
            os.fsync(file.fileno())
            if offset + file.tell() != self._offset:
                raise OSError(errno.EIO, f"{replacement} does not have all lines")
        # A commit index from before the cut would make a start read the closed lines once more.
        self._commit_index.sync()
        replacement.rename(self.path.resolve())
        with self._fence_on_error(keep_tail=True):
            sync_directory(replacement.parent)

    # Appending

    def keep_reserve(self) -> None:
        self._reserve.make()

    async def release_reserve(self) -> bool:
        with translate_errors():
            return await self._thread.run(self._reserve.release)

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        self._check_fence()
        data = b"\n".join((*lines, b""))
        write = self._write_revocations if revokes else self._write_ordinary
        writing = self._thread.run(write, data)
        try:
            await asyncio.shield(writing)
        except OSError as error:
            self._raise_refusal(error)
        except asyncio.CancelledError:
            await wait_uncancellable(writing)
            if writing.exception() is None:
                # If this fails, recovery finds the lines past the commit index and keeps them.
                with suppress(OSError):
                    self._undo_append()
            raise
        if not lines:
            return
        start, self._offset = self._offset, self._offset + len(data)
        self.head = head
        self._commit_index.publish(self._offset, head)
        self._offset_index.add(head.position - len(lines), start, lines)

    def _write_ordinary(self, data: bytes) -> None:
        """Write events that may not use the reserve; without any, check for room."""
        self._reserve.fill()
        if data:
            self._write(data)
        else:
            self._reserve.check_room()

    def _write_revocations(self, data: bytes) -> None:
        """Write events that may use the reserve."""
        try:
            self._write(data)
        except OSError as error:
            if error.errno not in NO_ROOM or not self._reserve.release():
                raise
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Write ``data`` at the end and sync it, or leave the file as it was."""
        try:
            self._write_all(data, self._offset)
        except OSError:
            self._undo_append()
            raise
        with self._fence_on_error():
            self._file.sync()

    def _write_all(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = self._file.pwrite(view, offset)
            view = view[written:]
            offset += written

    def _undo_append(self) -> None:
        """Cut off what was written since the last append."""
        self._file.truncate(self._offset)
        with self._fence_on_error():
            self._file.sync()

    @contextmanager
    def _fence_on_error(self, *, keep_tail: bool = False) -> Iterator[None]:
        """Raise the fence if a sync fails: it must not be tried again."""
        try:
            yield
        except OSError as error:
            self._commit_index.raise_fence(keep_tail=keep_tail)
            raise LogFenced(f"a sync of the log failed: {error.strerror}") from error

    def _raise_refusal(self, error: OSError) -> NoReturn:
        if error.errno in _NO_ROOM:
            raise StorageFull(f"no room for the log: {error.strerror}") from error
        raise LogUnavailable(f"the log cannot be written: {error.strerror}") from error

    async def close(self) -> None:
        self._thread.shutdown()
        self._commit_index.close()
        self._reserve.close()
        with suppress(OSError):  # Every acknowledged line is synced already.
            os.close(self._lock_file)
        with suppress(OSError):
            self._file.close()
