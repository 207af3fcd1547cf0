"""Close segments: move the beginning of a log's open file into compressed files.

1. Without the lock: once the open file has a segment's bytes in whole tiles, and a line behind them,
   write the tiles to ``events.jsonl.segments/``, sync the file, read it back and compare it with the
   lines, check their chain, and give it its name.
2. Copy the lines after it to ``events.jsonl.next.tmp``, and sync that file.
3. Under the lock: add the lines that were appended meanwhile, sync, and rename it to
   ``events.jsonl``.

A crash before the rename leaves the open file as it was, beside a segment that has lines of it; the
next closing compares that segment with the lines and uses it, or writes it again. Other processes
find another file at the path the next time they append or miss lines, and continue with it; see
`SegmentedFile.successor`. Disk space is needed for both before any is freed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from events.codec import MAX_LINE_BYTES, check_links, stated_hash
from events.errors import DamagedLog
from events.io.files import (
    TEMPORARY,
    copy_owner,
    make_directory,
    make_file,
    sync_directory,
)
from events.io.tasks import run_in_thread, wait_uncancellable
from events.log.file import closed
from events.log.file.closed import (
    ClosedSegment,
    damaged,
    list_segments,
    open_segment,
    segment_path,
    write_segment,
)
from events.log.file.commit_index import read_commit_point
from events.log.file.lines import BYTES_PER_READ
from events.log.file.log import JsonlLog
from events.log.file.paths import commit_index_path, segments_path
from events.log.file.search import find_end
from events.log.file.segments import SegmentedFile
from events.messages.errors import SEGMENT_SET_ASIDE
from events.record import START, Record

logger = logging.getLogger("events.log")

_MARGIN_BYTES: Final = 1 << 21
"""Room that a closing leaves for writes of the log and of the vault."""

_FEW_BYTES: Final = 1 << 22
"""Lines that were appended while so few were copied are left for the time under the lock."""

_T = TypeVar("_T")


class _Stopped(Exception):
    """The task that closes was cancelled."""


class _Cut(msgspec.Struct, frozen=True):
    """The open file that will begin at ``offset``, as far as it is copied."""

    replacement: Path
    offset: int


async def close_segments(log: JsonlLog, segment_bytes: int, timeout: float) -> bool:
    """Close all full segments of a log; return whether there were any.

    Returns False if another process closes them. ``timeout`` limits the wait for the lock, in
    seconds.
    Raises `OSError`, `DamagedLog`, and the errors of `EventLog.exclusive`; then nothing changed, and
    the next call continues.
    """
    if log.path.stat().st_size < segment_bytes:
        return False
    stop = threading.Event()
    with _claim(log.path) as is_first:
        if not is_first:
            return False
        preparing = asyncio.ensure_future(
            asyncio.to_thread(_prepare, log.path, segment_bytes, stop)
        )
        try:
            cut = await asyncio.shield(preparing)
            if cut is None:
                return False
            async with log.exclusive(timeout):
                await run_in_thread(partial(log.cut, cut.replacement, cut.offset))
        finally:
            stop.set()
            await wait_uncancellable(preparing)
            _replacement_path(log.path).unlink(missing_ok=True)
    return True


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Lock the directory of the segments; yields whether no other process has it."""
    directory, is_new = segments_path(path), not segments_path(path).exists()
    log = path.stat()
    mode = stat.S_IMODE(log.st_mode)
    # Users who may read the log may list its segments.
    make_directory(directory, mode | (mode & 0o444) >> 2)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if is_new:
            copy_owner(descriptor, log)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _replacement_path(path: Path) -> Path:
    path = path.resolve()  # The log may be behind a link, which stays.
    return path.with_name(f"{path.name}.next{TEMPORARY}")


def _prepare(path: Path, segment_bytes: int, stop: threading.Event) -> _Cut | None:
    """Write each full segment, and begin the next open file; None if none is full."""
    file = SegmentedFile.open(path)
    try:
        published = read_commit_point(commit_index_path(path))
        # At least one line stays in the open file, because the file begins with its position.
        last = (published.head.position - 1) // closed.LINES_PER_FRAME * closed.LINES_PER_FRAME
        if last < file.first:
            return None
        places = (file.first - 1, file.base), (published.head.position, published.offset)
        end = find_end(file.pread, last, *places)
        if end is None:
            reason = "its lines are not where their positions place them"
            raise DamagedLog(reason, position=file.first, offset=file.base)
        before = _record_before(file)
        if end - before.end < segment_bytes:
            return None
        _check_room_for_all(file, published.offset)
        while end - before.end >= segment_bytes:
            before = _close_one(file, before, end, segment_bytes, stop)
        sync_directory(segments_path(path))
        _copy_rest(file, before.end, stop)
        return _Cut(_replacement_path(path), before.end)
    finally:
        file.close()


def _record_before(file: SegmentedFile) -> Record:
    """Position, hash and end of the line before the open file."""
    if file.base == 0:
        return START
    start = max(file.base - MAX_LINE_BYTES - 1, 0)
    line = file.pread(file.base - start, start)[:-1].rpartition(b"\n")[2]
    return replace(START, position=file.first - 1, hash=stated_hash(line), end=file.base)


def _close_one(
    file: SegmentedFile, before: Record, end: int, segment_bytes: int, stop: threading.Event
) -> Record:
    """Close the lines after a record; return the last one of them."""
    directory, first = segments_path(file.path), before.position + 1
    for found_first, found_last, path in list_segments(directory):
        if found_first != first:
            continue
        with suppress(DamagedLog):
            found = open_segment(path, first, found_last, before.end)
            if found.end <= end:
                record = _compare(found, file, before, stop)
                try:
                    _settle(path, file)
                except OSError:
                    # After a failed sync its pages are clean, and another sync would write nothing.
                    # All its lines are in the open file, so it is written anew the next time.
                    path.unlink()
                    raise
                return record
        _set_aside(path, file.path)
    temporary = directory / f"{first:016}{TEMPORARY}"
    temporary.unlink(missing_ok=True)
    try:
        tiles = _tiles(file, before.end, end, segment_bytes)
        mode = stat.S_IMODE(os.fstat(file.descriptor).st_mode)
        count = write_segment(temporary, _paced(tiles, stop), mode)
        last = before.position + count * closed.LINES_PER_FRAME
        record = _read_back(temporary, last, file, before, stop)
        _settle(temporary, file)
        temporary.rename(segment_path(directory, first, last))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    logger.info("closed a segment of the log: events %s to %s", f"{first:,}", f"{last:,}")
    return record


def _read_back(
    temporary: Path, last: int, file: SegmentedFile, before: Record, stop: threading.Event
) -> Record:
    """Compare what was written with the lines, before it becomes a segment.

    Raises `OSError` if the disk returns something else, and `DamagedLog` if the lines themselves
    do not chain.
    """
    try:
        written = open_segment(temporary, before.position + 1, last, before.end)
        return _compare(written, file, before, stop)
    except DamagedLog as error:
        if str(temporary) not in error.reason:
            raise
        reason = f"{temporary} is not what was written to it, and is written anew the next time"
        raise OSError(errno.EIO, f"{reason}; check the kernel log for disk errors") from error


def _set_aside(segment: Path, log: Path) -> None:
    """Move a segment with other lines to the quarantine: it may be their only copy."""
    quarantine = log.parent / "quarantine"
    make_directory(quarantine)
    kept = quarantine / f"{segment.name}-{time.time_ns()}"
    segment.rename(kept)
    sync_directory(quarantine)
    logger.warning(SEGMENT_SET_ASIDE.fill(path=segment, log=log, kept=kept))


def _settle(path: Path, file: SegmentedFile) -> None:
    """Give a complete file the owner of the log, and sync it.

    A segment from before a crash may be a copy that another program has just put there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        copy_owner(descriptor, os.fstat(file.descriptor))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_room_for_all(file: SegmentedFile, end: int) -> None:
    """Raise `OSError` without room for all segments and the next open file.

    Nothing is freed before the last step. Segments of a closing that was interrupted count as
    written, so that it can be continued.
    """
    directory = segments_path(file.path)
    written = sum(
        path.stat().st_size for first, _, path in list_segments(directory) if first >= file.first
    )
    _check_room(directory, end - file.base - written)


def _check_room(directory: Path, needed: int) -> None:
    """Raise `OSError` without so much room: a closing must not use up the last."""
    free = os.statvfs(directory)
    if free.f_bavail * free.f_frsize < needed + _MARGIN_BYTES:
        raise OSError(errno.ENOSPC, f"it needs {needed + _MARGIN_BYTES:,} bytes on the disk")


def _tiles(file: SegmentedFile, start: int, end: int, segment_bytes: int) -> Iterator[bytes]:
    """The next tiles, each as the bytes of its lines, until they make a segment."""
    stream = file.stream(start)
    at = start
    while at < end and at - start < segment_bytes:
        tile = b"".join(islice(stream, closed.LINES_PER_FRAME))
        at += len(tile)
        yield tile


def _compare(
    segment: ClosedSegment, file: SegmentedFile, before: Record, stop: threading.Event
) -> Record:
    """Compare a segment with the lines of the open file, and check their chain.

    Returns the last record. Raises `DamagedLog`, and `OSError`.
    """
    for frame in _paced(segment.frames(), stop):
        if frame != file.pread(len(frame), before.end):
            reason = "it does not have the lines of the open file"
            raise damaged(segment.path, reason, before.position + 1, before.end)
        before = check_links(frame.split(b"\n")[:-1], before)
    if (before.position, before.end) != (segment.last, segment.end):
        raise damaged(
            segment.path, "it has other lines than its name", segment.first, segment.start
        )
    return before


def _copy_rest(file: SegmentedFile, start: int, stop: threading.Event) -> None:
    """Copy the lines that stay to the next open file, compare and sync them.

    Lines that are appended meanwhile are copied, too, except the last few.
    """
    path = _replacement_path(file.path)
    path.unlink(missing_ok=True)
    mode = stat.S_IMODE(os.fstat(file.descriptor).st_mode)
    with os.fdopen(make_file(path, os.O_RDWR, mode), "w+b", buffering=0) as copy:
        at, is_short = start, False
        while not is_short:
            end = read_commit_point(commit_index_path(file.path)).offset
            is_short = end - at <= _FEW_BYTES
            _check_room(path.parent, end - at)
            for part in _paced(range(at, end, BYTES_PER_READ), stop):
                _copy_part(file, copy, part, min(BYTES_PER_READ, end - part), start)
            at = end
    _settle(path, file)


def _copy_part(file: SegmentedFile, copy: FileIO, at: int, size: int, start: int) -> None:
    data = file.pread(size, at)
    if copy.write(data) != size or os.pread(copy.fileno(), size, at - start) != data:
        raise OSError(errno.EIO, "the next open file could not be written")
    # A single sync of many bytes at the end would delay those of the log.
    os.fdatasync(copy.fileno())


def _paced(parts: Iterable[_T], stop: threading.Event) -> Iterator[_T]:
    """Pass on the parts, and pause as long as each took, to serve requests meanwhile."""
    begun = time.monotonic()
    for part in parts:
        yield part
        if stop.wait(time.monotonic() - begun):
            raise _Stopped
        begun = time.monotonic()
