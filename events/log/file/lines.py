"""Read published lines of a log file, for writers and for read-only processes."""

from __future__ import annotations

import asyncio
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

from aiofiles.threadpool import wrap

from events.errors import LogUnavailable, MissingEvents
from events.log.file.commit_index import CommitIndex, CommitPoint
from events.log.file.search import Place, find_end
from events.log.file.segments import SegmentedFile

BYTES_PER_READ: Final = 1 << 20
BYTES_PER_RUN: Final = 1 << 17
"""How much is read from the file at once, and how much of it is yielded at once.

Small runs keep what is decoded from one of them in the processor's cache.
"""

INLINE_READ_BYTES: Final = 1 << 16
"""Up to here, read on the event loop: from the page cache, that is faster than to start a thread."""

POSITIONS_PER_INDEX_ENTRY: Final = 16
"""At a byte a line, few enough that a single line of the past is read in microseconds."""

MAX_LINES_COUNTED: Final = 2_048
"""To a line further beyond the nearest entry of the index, a search over the file is faster."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `LogUnavailable` in place of `OSError`.

    Use it only around calls that a failure leaves undone: the caller takes the error for a refusal.
    """
    try:
        yield
    except OSError as error:
        raise LogUnavailable(f"the log cannot be used: {error.strerror}") from error


class OffsetIndex:
    """A sparse index from positions to byte offsets.

    Reads and appends fill it, in any order.
    """

    def __init__(self) -> None:
        self._positions = array("Q", [0])
        self._offsets = array("Q", [0])
        self._newest = (0, 0)

    def add(self, position: int, offset: int, lines: Sequence[bytes]) -> int:
        """Add lines behind a position and its offset; return the offset of their end."""
        for start in range(0, len(lines), POSITIONS_PER_INDEX_ENTRY):
            part = lines[start : start + POSITIONS_PER_INDEX_ENTRY]
            position += len(part)
            offset += sum(map(len, part)) + len(part)
            self.add_end(position, offset)
        return offset

    def add_end(self, position: int, offset: int) -> None:
        """Remember that the line at ``position`` ends at byte ``offset``."""
        if position >= self._positions[-1] + POSITIONS_PER_INDEX_ENTRY:
            self._positions.append(position)
            self._offsets.append(offset)
        elif self._is_far_from_others(at := bisect_right(self._positions, position), position):
            self._positions.insert(at, position)
            self._offsets.insert(at, offset)
        if position > self._newest[0]:
            self._newest = (position, offset)

    def _is_far_from_others(self, at: int, position: int) -> bool:
        return at < len(self._positions) and (
            self._positions[at - 1] + POSITIONS_PER_INDEX_ENTRY
            <= position
            <= self._positions[at] - POSITIONS_PER_INDEX_ENTRY
        )

    def at_or_before(self, position: int) -> Place:
        """Return the nearest entry at or before a position."""
        at = bisect_right(self._positions, position) - 1
        found = (self._positions[at], self._offsets[at])
        return self._newest if found[0] < self._newest[0] <= position else found

    def at_or_after(self, position: int, published: CommitPoint) -> Place:
        """Return the nearest entry at or after a position, or the end of the log."""
        at = bisect_left(self._positions, position)
        if at < len(self._positions):
            return self._positions[at], self._offsets[at]
        return published.head.position, published.offset


class PublishedLines:
    """The lines of a file up to its commit index: `EventLog.read` and `position`."""

    lost_for: Final = 0.0
    _flags: int = os.O_RDONLY

    def __init__(self, path: Path, file: SegmentedFile, commit_index: CommitIndex) -> None:
        """Use an open file and its commit index; the subclass closes them."""
        self.path = path
        self._file = file
        self._commit_index = commit_index
        self._offset_index = OffsetIndex()

    @property
    def position(self) -> int:
        return self._commit_index.position

    @property
    def closed(self) -> tuple[int, int]:
        """The number of closed segments, and how many bytes of the log they have.

        As of the last closing that this process followed.
        """
        return len(self._file.segments), self._file.base

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        # The polled word is the limit, not the newest slot: a writer stores the slot first, and may
        # die before it stores the word. A read up to the slot would be ahead of all other readers.
        position = self._commit_index.position
        published = self._commit_index.read()
        after = max(after, 0)
        last = position if upto is None else min(upto, position)
        if after >= last:
            return
        with translate_errors():
            if self._file.size < published.offset:
                self._follow_closing(published)
        with self._file.held() as file:
            position, offset = await self._place_before(file, after, published)
            rest = b""
            _, end = self._offset_index.at_or_after(last, published)
            async with aclosing(self._chunks(file, offset, end)) as chunks:
                async for chunk in chunks:
                    lines = (rest + chunk).split(b"\n")
                    rest = lines.pop()
                    offset = self._offset_index.add(position, offset, lines)
                    first, position = position, position + len(lines)
                    if position > after and lines:
                        yield lines[max(after - first, 0) : last - first]
                    if position >= last:
                        return
        raise MissingEvents("acknowledged events are missing", position=position + 1, offset=offset)

    def _follow_closing(self, published: CommitPoint) -> bool:
        """Use the file at the path, if segments were closed; return whether they were.

        A process that reads keeps the file that it opened, which has all lines up to the closing.
        Raises `DamagedLog` and `OSError`.
        """
        newer = self._file.successor(published, self._flags)
        if newer is None:
            return False
        self._use(newer)
        return True

    def _use(self, file: SegmentedFile) -> None:
        """Continue with the file that took the place of the open one."""
        self._file.close()
        self._file = file

    async def _place_before(
        self, file: SegmentedFile, position: int, published: CommitPoint
    ) -> Place:
        """A place at or not far before a position, from where lines are counted."""
        low = self._offset_index.at_or_before(position)
        if position - low[0] <= MAX_LINES_COUNTED:
            return low
        high = self._offset_index.at_or_after(position, published)
        with translate_errors():
            offset = await asyncio.to_thread(find_end, file.pread, position, low, high)
        if offset is None:
            return low  # The file is damaged: count its lines from the last one that is known.
        self._offset_index.add_end(position, offset)
        return position, offset

    async def _chunks(
        self, file: SegmentedFile, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        with translate_errors():
            if end - start <= INLINE_READ_BYTES and start >= file.base:
                yield file.pread(end - start, start)
                return
            stream = wrap(file.stream(start))
            while start < end and (chunk := await stream.read(min(BYTES_PER_READ, end - start))):
                start += len(chunk)
                for at in range(0, len(chunk), BYTES_PER_RUN):
                    yield chunk[at : at + BYTES_PER_RUN]
