"""The log as one range of bytes: closed segments, and the open file after them.

Everything above this module uses offsets in the whole log, and is the same for a log in one file.

No list of the segments is stored. Every line begins with its position, so the first line of the
open file states where it begins, and the segments before it must lead there from the first
position on. A segment whose lines are still in the open file is not used yet: a process died, or is
at work, between writing it and cutting the open file; see `events.log.file.closing`.
"""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from events.errors import DamagedLog, MissingEvents
from events.log.file import closed
from events.log.file.closed import (
    ClosedSegment,
    damaged,
    list_segments,
    missing,
    open_segment,
    segment_path,
)
from events.log.file.commit_index import CommitPoint
from events.log.file.paths import segments_path
from events.log.file.search import HEAD_BYTES, stated_position
from events.log.port import Head
from events.messages.errors import (
    FIRST_LINE_UNREADABLE,
    LOG_FILE_EMPTY,
    LOG_FILE_OLD,
    SEGMENT_FOREIGN,
)

_CACHED_BYTES: Final = 1 << 22
"""Decompressed frames that are kept: those of a search, and of lines that are read one by one."""

_TAIL_BYTES: Final = 128


class SegmentedFile:
    """The bytes of a log; those before ``base`` are in closed segments, and read-only.

    With ``on_damage``, damaged frames read as one line of NUL bytes, segments that are missing or
    unreadable are left out, and each error is passed to the function instead of being raised.
    """

    def __init__(
        self, path: Path, descriptor: int, on_damage: Callable[[DamagedLog], None] | None = None
    ) -> None:
        """Use an open file, which this object closes, also if it raises.

        Raises `MissingEvents` and `DamagedLog`, with the name of the file, and `OSError`.
        """
        self.path = path
        self.descriptor = descriptor
        self._on_damage = on_damage
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False
        self.first = 1
        self.segments: list[ClosedSegment] = []
        self._newest: tuple[int, Path] | None = None
        try:
            self._find_segments()
        except BaseException:
            self.close()
            raise
        self._starts = [segment.start for segment in self.segments]
        self.base = self.segments[-1].end if self.segments else 0

    def _find_segments(self) -> None:
        """Open the segments up to the first line of the open file."""
        directory = segments_path(self.path)
        found = list_segments(directory)
        head = os.pread(self.descriptor, HEAD_BYTES, 0)
        self._newest = max(((end, path) for _, end, path in found), default=None)
        first = stated = stated_position(head)
        if first is None or first % closed.LINES_PER_FRAME != 1:
            # An empty log or a damaged first line: a segment ends with a tile.
            first = found[-1][1] + 1 if found else 1
            # With ``on_damage``, the lines of a log in one file are judged one by one.
            if found or (stated is not None and self._on_damage is None):
                error = FIRST_LINE_UNREADABLE if head else LOG_FILE_EMPTY
                self._accept(DamagedLog(error.fill(path=self.path), position=first, offset=0))
        self.first, due, offset = first, 1, 0
        for start, end, path in (one for one in found if one[1] < first):
            if start < due:
                reason = f"it overlaps the lines before {due:,}"
                self._accept(damaged(path, reason, start, offset))
                continue
            if start > due:
                self._accept(missing(segment_path(directory, due, start - 1), due, offset))
            try:
                self.segments.append(open_segment(path, start, end, offset))
                offset = self.segments[-1].end
            except DamagedLog as error:
                self._accept(error)
            due = end + 1
        if due != first:
            self._accept(missing(segment_path(directory, due, first - 1), due, offset))

    def _accept(self, damage: DamagedLog) -> None:
        if self._on_damage is None:
            raise damage
        self._on_damage(damage)

    @classmethod
    def open(
        cls,
        path: Path,
        flags: int = os.O_RDONLY,
        on_damage: Callable[[DamagedLog], None] | None = None,
    ) -> SegmentedFile:
        """Open the log at a path; raises as the constructor."""
        return cls(path, os.open(path, flags | os.O_CLOEXEC), on_damage)

    @property
    def size(self) -> int:
        """The offset at which the log ends, published or not; raises `OSError`."""
        return self.base + os.fstat(self.descriptor).st_size

    def pread(self, size: int, offset: int) -> bytes:
        """Read bytes of the log, less only at its end; raises `DamagedLog` and `OSError`."""
        if offset >= self.base:
            # The usual case: one call of the system.
            return os.pread(self.descriptor, size, offset - self.base)
        parts = []
        while size > 0 and (part := self._part(size, offset)):
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def _part(self, size: int, offset: int) -> bytes:
        """Read from one frame, or from the open file."""
        if offset >= self.base:
            return os.pread(self.descriptor, size, offset - self.base)
        at = bisect_right(self._starts, offset) - 1
        with self._lock:
            number, start, end = self.segments[at].frame_at(offset)
            frame = self._frame(at, number, start, end)
        return frame[offset - start : offset - start + size]

    def _frame(self, at: int, number: int, start: int, end: int) -> bytes:
        frame = self._cache.pop((at, number), None)
        if frame is None:
            try:
                frame = self.segments[at].read_frame(number)
            except DamagedLog as error:
                self._accept(error)
                frame = bytes(end - start - 1) + b"\n"
        self._cache[at, number] = frame
        while len(self._cache) > 1 and sum(map(len, self._cache.values())) > _CACHED_BYTES:
            self._cache.popitem(last=False)
        return frame

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write to the open file; raises `OSError`."""
        return os.pwrite(self.descriptor, data, offset - self.base)

    def truncate(self, offset: int) -> None:
        """Cut the open file; raises `DamagedLog` below it, and `OSError`."""
        self.check_cut(offset)
        os.ftruncate(self.descriptor, offset - self.base)

    def check_cut(self, offset: int) -> None:
        """Raise `DamagedLog` if a cut there would need to cut a closed segment."""
        if offset < self.base:
            reason = (
                "the mark is older than the closed segments, and the log cannot be cut back to it"
            )
            raise DamagedLog(reason, position=self.first, offset=offset)

    def sync(self) -> None:
        """Sync the open file; raises `OSError`."""
        os.fdatasync(self.descriptor)

    def stream(self, offset: int = 0) -> BinaryIO:
        """A stream of the bytes from an offset on; it raises as `pread`."""
        return io.BufferedReader(_Stream(self, offset))

    def has(self, published: CommitPoint) -> bool:
        """Whether the published head is the line that ends there."""
        if not published.head.position:
            return False
        tail = self.pread(_TAIL_BYTES, max(published.offset - _TAIL_BYTES, 0))
        return tail.endswith(b"\n") and published.head.matches(tail[:-1])

    def check_place(self, published: CommitPoint) -> None:
        """Raise `DamagedLog` if closed segments move the published head to another place.

        A wrong segment shifts all later lines, so that recovery would cut in the middle of one.
        """
        is_read = published.head.position and published.offset <= self.size
        if self.segments and is_read and not self.has(published):
            message = SEGMENT_FOREIGN.fill(directory=segments_path(self.path))
            raise DamagedLog(message, position=published.head.position, offset=published.offset)

    def check_newest(self, head: Head) -> None:
        """Raise `MissingEvents` if a closed segment has later lines than the log.

        Only published lines are closed, so the open file is an older copy.
        """
        if self._newest and (last := self._newest[0]) > head.position:
            message = LOG_FILE_OLD.fill(path=self.path, segment=self._newest[1], last=last)
            raise MissingEvents(message, position=head.position + 1, offset=self.size)

    def successor(self, published: CommitPoint, flags: int) -> SegmentedFile | None:
        """Open the file that took the place of this one when segments were closed.

        It begins with a later line, and has the published head in the same place. None if the file
        at the path is this one or anything else. Raises `DamagedLog` and `OSError`.
        """
        newer = SegmentedFile.open(self.path, flags)
        is_successor = False
        try:
            is_successor = newer.first > self.first and newer.has(published)
        finally:
            if not is_successor:
                newer.close()
        return newer if is_successor else None

    @contextmanager
    def held(self) -> Iterator[SegmentedFile]:
        """Keep the file open inside the context, also if it is closed meanwhile.

        Only for use in one thread, together with `close`.
        """
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if self._is_closed and not self._users:
                os.close(self.descriptor)

    def close(self) -> None:
        """Close the open file once no context holds it; raises `OSError`."""
        is_first, self._is_closed = not self._is_closed, True
        if is_first and not self._users:
            os.close(self.descriptor)


class _Stream(io.RawIOBase):
    """A raw stream over a log; it does not close it."""

    def __init__(self, file: SegmentedFile, offset: int) -> None:
        self._log = file
        self._offset = offset

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._offset, self._log.size)[whence]
        self._offset = start + offset
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._log.pread(len(buffer), self._offset)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


@contextmanager
def open_stream(
    path: Path, on_damage: Callable[[DamagedLog], None] | None = None
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a log to read it as one file; yields the stream and its size in bytes.

    Raises `DamagedLog`, unless ``on_damage`` gets the errors, and `OSError`.
    """
    file = SegmentedFile.open(path, on_damage=on_damage)
    try:
        yield file.stream(), file.size
    finally:
        file.close()


def ignore_damage(_: DamagedLog) -> None:
    """Accept closed segments that are damaged: they are reported when they are read."""
