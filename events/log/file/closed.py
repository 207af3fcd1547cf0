"""A closed segment: compressed lines of a log, which never change again.

The name is that of its first and its last line, which ends a tile of the Merkle tree::

    events.jsonl.segments/0000000000000001-0000000000002048.jsonl.zst

The content is in the seekable format of zstd, which ``zstd -d`` reads as plain JSON lines:

    frames       one for every 256 lines, with its checksum, so that one line costs one frame
    check        a skippable frame with the CRC-32 of the table, because the sizes in it give every
                 byte of the log its place
    seek table   a skippable frame: compressed and uncompressed size of each frame, u32
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import zstandard

from events.codec import MAX_LINE_BYTES
from events.errors import DamagedLog, MissingEvents
from events.io.files import make_file
from events.log.file.paths import SUFFIX, files_in
from events.messages.errors import SEGMENT_DAMAGED, SEGMENT_MISSING

LINES_PER_FRAME: Final = 256
"""The lines of one tile."""

_T = TypeVar("_T")

_NAME: Final = re.compile(r"([0-9]{16})-([0-9]{16})\.jsonl\.zst")
_SKIPPABLE: Final = struct.Struct("<II")
_CHECK: Final = struct.Struct("<III")
_FOOTER: Final = struct.Struct("<IBI")
_CHECK_MAGIC: Final = 0x184D2A50
_TABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_LEVEL: Final = 3

_SYNCED_BYTES: Final = 1 << 23
"""After so many bytes a new file is synced: the syncs of the log may wait for all its dirty pages."""


class _Table(msgspec.Struct, frozen=True):
    """Where each frame begins, compressed and uncompressed; the last entry is the end."""

    compressed: array[int]
    uncompressed: array[int]


class ClosedSegment(msgspec.Struct, frozen=True):
    """The lines ``first`` to ``last``: ``size`` bytes of the log from ``start`` on."""

    path: Path
    first: int
    last: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """The offset in the log at which its last line ends."""
        return self.start + self.size

    def frame_at(self, offset: int) -> tuple[int, int, int]:
        """The number, start and end of the frame that has a byte of the log.

        Raises as `read_frame`.
        """
        ends = self._table().uncompressed
        number = bisect_right(ends, offset - self.start) - 1
        return number, self.start + ends[number], self.start + ends[number + 1]

    def read_frame(self, number: int) -> bytes:
        """Decompress the lines of a frame.

        Raises `DamagedLog`, `MissingEvents` if the file is gone, and `OSError`.
        """
        table = self._table()
        start, end = table.compressed[number : number + 2]
        size = table.uncompressed[number + 1] - table.uncompressed[number]
        position = self.first + number * LINES_PER_FRAME
        offset = self.start + table.uncompressed[number]
        try:
            with self.path.open("rb", buffering=0) as file:
                frame = os.pread(file.fileno(), end - start, start)
            # Without this check, a damaged size could ask for all memory.
            if (stated := zstandard.frame_content_size(frame)) != size:
                reason = f"a frame has {stated:,} bytes instead of {size:,}"
                raise damaged(self.path, reason, position, offset)
            return zstandard.ZstdDecompressor().decompress(frame)
        except FileNotFoundError:
            raise missing(self.path, self.first, self.start) from None
        except zstandard.ZstdError as error:
            raise damaged(self.path, str(error), position, offset) from None

    def frames(self) -> Iterator[bytes]:
        """Decompress all frames, in order; raises as `read_frame`."""
        for number in range(len(self._table().compressed) - 1):
            yield self.read_frame(number)

    def _table(self) -> _Table:
        table = _load(_cached_table, self.path, self.first, self.last, self.start)
        if table.uncompressed[-1] != self.size:
            reason = "it was replaced by another file while it was in use"
            raise damaged(self.path, reason, self.first, self.start)
        return table


def damaged(path: Path, reason: str, position: int, offset: int) -> DamagedLog:
    """The error about a segment of which some bytes are not what was written."""
    message = SEGMENT_DAMAGED.fill(path=path, reason=reason)
    return DamagedLog(message, position=position, offset=offset)


def missing(path: Path, position: int, offset: int) -> MissingEvents:
    """The error about a segment that is not there, though later lines are."""
    return MissingEvents(SEGMENT_MISSING.fill(path=path), position=position, offset=offset)


def segment_path(directory: Path, first: int, last: int) -> Path:
    """The path of the segment with these lines."""
    return directory / f"{first:016}-{last:016}{SUFFIX}"


def list_segments(directory: Path) -> list[tuple[int, int, Path]]:
    """First and last position and path of each segment in a directory, in order.

    Raises `OSError` unless there is no directory.
    """
    found = ((_NAME.fullmatch(path.name), path) for path in files_in(directory))
    return sorted((int(name[1]), int(name[2]), path) for name, path in found if name)


def open_segment(path: Path, first: int, last: int, start: int) -> ClosedSegment:
    """Open the segment whose lines begin at a byte of the log.

    Raises `DamagedLog`, `MissingEvents` and `OSError`.
    """
    size = _load(_cached_size, path, first, last, start)
    return ClosedSegment(path, first, last, start, size)


def _load(
    read: Callable[[Path, int, int, int, int], _T], path: Path, first: int, last: int, start: int
) -> _T:
    """Read from the table of a file, or what was read since its last change."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise missing(path, first, start) from None
    try:
        return read(path, last - first + 1, found.st_ino, found.st_mtime_ns, found.st_size)
    except (ValueError, struct.error) as error:
        raise damaged(path, str(error), first, start) from None


@lru_cache(maxsize=1 << 14)
def _cached_size(path: Path, lines: int, inode: int, changed: int, size: int) -> int:
    """The uncompressed size: to open a log takes that of every segment, and no table."""
    return _cached_table(path, lines, inode, changed, size).uncompressed[-1]


@lru_cache(maxsize=64)
def _cached_table(path: Path, lines: int, _inode: int, _changed: int, size: int) -> _Table:
    """Read the seek table; raises `ValueError` and `struct.error` if it is not intact."""
    with path.open("rb", buffering=0) as file:
        footer = os.pread(file.fileno(), _FOOTER.size, max(size - _FOOTER.size, 0))
        frames, _, magic = _FOOTER.unpack(footer)
        if magic != _SEEKABLE_MAGIC or frames != -(-lines // LINES_PER_FRAME):
            raise ValueError("it does not end with the table of its frames")
        length = _SKIPPABLE.size + 8 * frames + _FOOTER.size
        end = max(size - length - _CHECK.size, 0)
        content = os.pread(file.fileno(), size - end, end)
    table = content[_CHECK.size :]
    if content[: _CHECK.size] != _CHECK.pack(_CHECK_MAGIC, 4, zlib.crc32(table)):
        raise ValueError("the table of its frames is damaged")
    entries = struct.unpack(f"<{2 * frames}I", table[_SKIPPABLE.size : -_FOOTER.size])
    # Without this limit, a wrong size could ask for all memory.
    if max(entries[1::2]) > LINES_PER_FRAME * (MAX_LINE_BYTES + 1):
        raise ValueError("a frame is larger than its lines can be")
    compressed = array("Q", accumulate(entries[::2], initial=0))
    if compressed[-1] != end:
        raise ValueError(f"it has {size:,} bytes, and its table is of another size")
    return _Table(compressed, array("Q", accumulate(entries[1::2], initial=0)))


def write_segment(path: Path, tiles: Iterable[bytes], mode: int) -> int:
    """Write a new file with a frame for each tile, and sync it; return their number.

    Raises `OSError`.
    """
    compressor = zstandard.ZstdCompressor(_LEVEL, write_checksum=True, write_content_size=True)
    entries: list[int] = []
    synced = 0
    with os.fdopen(make_file(path, os.O_WRONLY, mode), "wb") as file:
        for tile in tiles:
            frame = compressor.compress(tile)
            entries.extend((len(frame), len(tile)))
            file.write(frame)
            if file.tell() >= synced + _SYNCED_BYTES:
                file.flush()
                os.fdatasync(file.fileno())
                synced = file.tell()
        footer = _FOOTER.pack(len(entries) // 2, 0, _SEEKABLE_MAGIC)
        body = struct.pack(f"<{len(entries)}I", *entries) + footer
        table = _SKIPPABLE.pack(_TABLE_MAGIC, len(body)) + body
        file.write(_CHECK.pack(_CHECK_MAGIC, 4, zlib.crc32(table)) + table)
        file.flush()
        os.fsync(file.fileno())
        # What is read back is then what the disk has.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return len(entries) // 2
