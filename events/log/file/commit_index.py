"""The commit index: how far the log is published, in a memory-mapped page.

Its file, ``events.jsonl.mark``, is one page of 4,096 bytes, which all processes of the machine
map::

    0    position   u64, native: the one word that readers poll
    8    fence      u64: how many syncs have failed in the life of this log
    16   recovered  u64: the fence up to which a restart has cleaned up
    24   magic      16 bytes
    64   slot 0     offset u64, position u64, hash 32 bytes, CRC-32 of the three u32
    192  slot 1     the same; the two are written in turn

An aligned word is stored at once, so readers never see a half-written ``position``. A slot can be
half-written: then its CRC does not match, and the other slot still holds the previous publication.
A slot is written only after the bytes it covers are durable, so any slot with a valid CRC is true.
The page is not synced on every publication: after a power cut it may be behind the log, but never
ahead of it.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from events.errors import DamagedCommitIndex
from events.io.files import TEMPORARY, FileIdentity, set_owner
from events.log.port import Head
from events.messages.server_log import MARK_NOT_SYNCED

logger = logging.getLogger("events.log")

_PAGE_BYTES = 4096
_MAGIC = b"eventapi-mark-1\n"
_MAGIC_AT = 24
_POSITION, _FENCE, _RECOVERED = 0, 1, 2
_SLOTS = (64, 192)
_SLOT = struct.Struct("<QQ32s")
_CRC = struct.Struct("<I")
_SLOT_BYTES = _SLOT.size + _CRC.size
_WORD = struct.Struct("=Q")
_USED_BYTES = _SLOTS[-1] + _SLOT_BYTES
_READ_ATTEMPTS = 100
_RETRY_SECONDS = 0.0001


class CommitPoint(msgspec.Struct, frozen=True, gc=False):
    """A publication: the log is durable up to byte ``offset``, where ``head`` ends."""

    offset: int = 0
    head: Head = Head()


def read_commit_point(path: Path) -> CommitPoint:
    """Read the newest publication from the file, without creating or mapping it.

    Raises `FileNotFoundError`, and `DamagedCommitIndex` if the file is no commit index.
    """
    page = path.read_bytes()
    if len(page) < _PAGE_BYTES or page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        raise DamagedCommitIndex(str(path))
    return _consistent_slot(path, path.read_bytes)


def _read_slots(page: bytes) -> list[CommitPoint]:
    """Decode both slots, in order; a slot with a wrong CRC counts as never written."""
    found = []
    for at in _SLOTS:
        body = page[at : at + _SLOT.size]
        offset, position, digest = _SLOT.unpack(body)
        is_valid = _CRC.unpack_from(page, at + _SLOT.size) == (zlib.crc32(body),)
        found.append(CommitPoint(offset, Head(position, digest)) if is_valid else CommitPoint())
    return found


def _consistent_slot(path: Path, read_page: Callable[[], bytes]) -> CommitPoint:
    """Return the newest slot; read again until it is at least at the polled position."""
    for _ in range(_READ_ATTEMPTS):
        page = read_page()
        (position,) = _WORD.unpack_from(page)
        newest = max(_read_slots(page), key=lambda published: published.head.position)
        if newest.head.position >= position:
            return newest
        time.sleep(_RETRY_SECONDS)  # Another process is publishing right now: yield the core to it.
    raise DamagedCommitIndex(str(path))


def _create(path: Path) -> None:
    """Create an empty commit index, unless another process has just created one."""
    # Allocate real blocks: a store into a hole raises SIGBUS on a full disk.
    page = bytearray(_PAGE_BYTES)
    page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] = _MAGIC
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f"{path.name}.", suffix=TEMPORARY
    ) as file:
        set_owner(file.fileno(), path)
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
        # Unlike a rename, a link never replaces a commit index that is already in use.
        with suppress(FileExistsError):
            path.hardlink_to(file.name)


class CommitIndex:
    """The durable high-water mark of the log: no reader sees a line past it.

    As Raft's commit index and Kafka's high watermark, it separates committed records from those
    that may still be lost. Only the holder of the log's lock changes it; all processes read it.
    """

    def __init__(self, path: Path) -> None:
        """Map the page; create it if there is none.

        A new page has no publication, so recovery examines the whole log. Raises `OSError`, and
        `DamagedCommitIndex` if the file is no commit index.
        """
        if not path.exists():
            _create(path)
        with path.open("r+b") as file:
            found = os.fstat(file.fileno())
            if found.st_size < _PAGE_BYTES:
                raise DamagedCommitIndex(str(path))
            self.identity = FileIdentity(path, found)
            self._map(path, mmap.mmap(file.fileno(), _PAGE_BYTES))

    @classmethod
    def open_for_reading(cls, path: Path) -> CommitIndex:
        """Map an existing page read-only; raises as the constructor."""
        index = cls.__new__(cls)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _PAGE_BYTES:
                raise DamagedCommitIndex(str(path))
            index._map(path, mmap.mmap(file.fileno(), _PAGE_BYTES, access=mmap.ACCESS_READ))
        return index

    @classmethod
    def in_memory(cls, path: Path, published: CommitPoint) -> CommitIndex:
        """Make a page of this process alone, for a log that is only read; creates no file."""
        index = cls.__new__(cls)
        page = mmap.mmap(-1, _PAGE_BYTES)
        page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] = _MAGIC
        index._map(path, page)
        index.publish(published.offset, published.head)
        return index

    def _map(self, path: Path, page: mmap.mmap) -> None:
        self.path = path
        self._page = page
        self._view = memoryview(self._page)
        self._words = self._view[:_MAGIC_AT].cast("Q")
        if self._page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            self.close()
            raise DamagedCommitIndex(str(path))

    @property
    def position(self) -> int:
        """The last published position; one load from memory."""
        return self._words[_POSITION]

    @property
    def fence(self) -> int:
        """How many syncs of the log have failed since it was begun."""
        return self._words[_FENCE]

    @property
    def needs_recovery(self) -> bool:
        """Whether a sync of an append failed and no start has recovered from it yet."""
        return self._words[_FENCE] > self._words[_RECOVERED]

    def read(self) -> CommitPoint:
        """Return the newest publication; raises `DamagedCommitIndex` if no slot holds it."""
        return _consistent_slot(self.path, lambda: self._page[:_USED_BYTES])

    def publish(self, offset: int, head: Head) -> None:
        """Publish that the log is durable up to ``offset``, where ``head`` ends."""
        first, _ = _read_slots(self._page[:_USED_BYTES])
        # Keep the newest publication intact while the other slot is written.
        at = _SLOTS[1] if first == self.read() else _SLOTS[0]
        body = _SLOT.pack(offset, head.position, head.hash)
        self._page[at : at + _SLOT_BYTES] = body + _CRC.pack(zlib.crc32(body))
        self._words[_POSITION] = head.position

    def raise_fence(self, *, keep_tail: bool = False) -> None:
        """Make every process that is running refuse to write, because a sync failed.

        With ``keep_tail`` the next start does not cut the log back to the commit index, which may
        lag: lines past it may have been acknowledged before the power was cut.
        """
        if keep_tail:
            # Stored first: a process that dies between the two stores must not cause a cut.
            self._words[_RECOVERED] = self._words[_FENCE] + 1
        self._words[_FENCE] += 1

    def set_recovered(self) -> None:
        """Record that every failed sync so far is recovered from, and sync the page.

        Without the sync, a start after a power cut would recover once more and cut off what was
        appended since. Every process calls this before its first append, because another one may
        have died between the store and the sync, or of a sync that failed. After a failed sync, the
        kernel considers the page as clean, and only another store makes the next sync write it.
        Raises `OSError`.
        """
        # Store only after a failed sync, because a store changes the file's modification time.
        if self._words[_FENCE]:
            self._words[_RECOVERED] = self._words[_FENCE]
        self._page.flush()

    def sync(self) -> None:
        """Make the newest publication durable; raises `OSError`."""
        self._page.flush()

    def close(self) -> None:
        """Sync the page and unmap it.

        If the sync fails, the next start finds a commit index that lags, as after a power cut.
        """
        self._words.release()
        self._view.release()
        try:
            self._page.flush()
        except OSError as error:
            logger.warning(MARK_NOT_SYNCED.fill(reason=error.strerror))
        self._page.close()
