"""The durable mark: how far the log is published, in a memory-mapped page beside it.

One page of 4,096 bytes, shared by every process of the machine::

    0    position   u64, native: the one word that readers poll
    8    fence      u64: how many syncs have failed in the life of this log
    16   recovered  u64: the fence up to which a restart has cleaned up
    24   magic      16 bytes
    64   slot 0     offset u64, position u64, hash 32 bytes, CRC-32 of the three u32
    192  slot 1     the same; the two are written in turn

An aligned word is stored whole, so ``position`` is never seen half-written. A slot is: its CRC
tells, and the other slot then still holds what was published before. A slot is written only after
the bytes it covers are durable, so any slot that checks out is true. The page is not synced on
every publication: after a power cut it may lag behind the log, never run ahead of it.
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

_PAGE = 4096
_MAGIC = b"eventapi-mark-1\n"
_MAGIC_AT = 24
_POSITION, _FENCE, _RECOVERED = 0, 1, 2
_SLOTS = (64, 192)
_SLOT = struct.Struct("<QQ32s")
_CRC = struct.Struct("<I")
_SLOT_BYTES = _SLOT.size + _CRC.size
_WORD = struct.Struct("=Q")
_USED = _SLOTS[-1] + _SLOT_BYTES
_TRIES = 100


class CommitPoint(msgspec.Struct, frozen=True, gc=False):
    """What the mark says: the log is durable up to byte ``offset``, where ``head`` ends."""

    offset: int = 0
    head: Head = Head()


def read_commit_point(path: Path) -> CommitPoint:
    """The newest publication of a mark that is only looked at, never made or mapped.

    Raises `FileNotFoundError` and, for a page that is no mark, `DamagedCommitIndex`.
    """
    page = path.read_bytes()
    if len(page) < _PAGE or page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        raise DamagedCommitIndex(str(path))
    return _consistent_slot(path, path.read_bytes)


def _slots(page: bytes) -> list[CommitPoint]:
    """What the slots that check out say, in their order; a torn one says nothing."""
    found = []
    for at in _SLOTS:
        body = page[at : at + _SLOT.size]
        offset, position, digest = _SLOT.unpack(body)
        whole = _CRC.unpack_from(page, at + _SLOT.size) == (zlib.crc32(body),)
        found.append(CommitPoint(offset, Head(position, digest)) if whole else CommitPoint())
    return found


def _consistent_slot(path: Path, look: Callable[[], bytes]) -> CommitPoint:
    """The newest publication, looked for until a slot holds what the position word speaks of."""
    for _ in range(_TRIES):
        page = look()
        (position,) = _WORD.unpack_from(page)
        newest = max(_slots(page), key=lambda published: published.head.position)
        if newest.head.position >= position:
            return newest
        time.sleep(0.0001)  # Another process is publishing right now; give it the core.
    raise DamagedCommitIndex(str(path))


def _make(path: Path) -> None:
    """Make a mark that says that nothing is published, unless another process was quicker."""
    # Real blocks, not a hole: a full disk must not turn a store into SIGBUS.
    page = bytearray(_PAGE)
    page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] = _MAGIC
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f"{path.name}.", suffix=TEMPORARY
    ) as file:
        set_owner(file.fileno(), path)
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
        # A link, other than a rename, never replaces a mark that is already in use.
        with suppress(FileExistsError):
            path.hardlink_to(file.name)


class CommitIndex:
    """The mapped page; written only by the holder of the log's lock."""

    def __init__(self, path: Path) -> None:
        """Map the page, making it where there is none.

        A new page says that nothing is published: recovery then looks at the whole log. Raises
        `OSError` and, for a page that is no mark, `DamagedCommitIndex`.
        """
        if not path.exists():
            _make(path)
        with path.open("r+b") as file:
            found = os.fstat(file.fileno())
            if found.st_size < _PAGE:
                raise DamagedCommitIndex(str(path))
            self.place = FileIdentity(path, found)
            self._use(path, mmap.mmap(file.fileno(), _PAGE))

    @classmethod
    def open_for_reading(cls, path: Path) -> CommitIndex:
        """Map the page of a mark only to read it; raises as the constructor, which makes it."""
        mark = cls.__new__(cls)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _PAGE:
                raise DamagedCommitIndex(str(path))
            mark._use(path, mmap.mmap(file.fileno(), _PAGE, access=mmap.ACCESS_READ))
        return mark

    @classmethod
    def in_memory(cls, path: Path, published: CommitPoint) -> CommitIndex:
        """A page of this process alone, for a log that is only read; nothing lies at ``path``."""
        mark = cls.__new__(cls)
        page = mmap.mmap(-1, _PAGE)
        page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] = _MAGIC
        mark._use(path, page)
        mark.publish(published.offset, published.head)
        return mark

    def _use(self, path: Path, page: mmap.mmap) -> None:
        self.path = path
        self._page = page
        self._view = memoryview(self._page)
        self._words = self._view[:_MAGIC_AT].cast("Q")
        if self._page[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            self.close()
            raise DamagedCommitIndex(str(path))

    @property
    def position(self) -> int:
        """The last published position."""
        return self._words[_POSITION]

    @property
    def fence(self) -> int:
        """How many syncs have failed."""
        return self._words[_FENCE]

    @property
    def needs_recovery(self) -> bool:
        """Whether the sync of an append failed and no restart has cleaned up since."""
        return self._words[_FENCE] > self._words[_RECOVERED]

    def read(self) -> CommitPoint:
        """The newest publication; raises `DamagedCommitIndex` where no slot holds it."""
        return _consistent_slot(self.path, lambda: self._page[:_USED])

    def publish(self, offset: int, head: Head) -> None:
        """Tell every process that the log is durable up to ``offset``."""
        first, _ = _slots(self._page[:_USED])
        # The newest publication stays as it is while the other slot is written.
        at = _SLOTS[1] if first == self.read() else _SLOTS[0]
        body = _SLOT.pack(offset, head.position, head.hash)
        self._page[at : at + _SLOT_BYTES] = body + _CRC.pack(zlib.crc32(body))
        self._words[_POSITION] = head.position

    def raise_fence(self, *, keep_tail: bool = False) -> None:
        """Tell every process that a sync failed.

        With ``keep_tail`` the next start does not cut back to the mark, which may lag: what stands
        past it may have been acknowledged before the power was cut.
        """
        if keep_tail:
            # First, so that who dies between the two leaves nothing that asks for a cut.
            self._words[_RECOVERED] = self._words[_FENCE] + 1
        self._words[_FENCE] += 1

    def set_recovered(self) -> None:
        """Tell the processes that start from now on that every failure is cleaned up.

        Synced, because a start after a power cut would otherwise clean up once more, and cut off
        what was appended since. So every process does this before it appends for the first time:
        another one may have died after the store and before the sync. Raises `OSError`.
        """
        if self._words[_RECOVERED] != self._words[_FENCE]:
            # A store of the same number would change the time of the file.
            self._words[_RECOVERED] = self._words[_FENCE]
        self._page.flush()

    def close(self) -> None:
        """Unmap the page, handing it to the disk first.

        If the disk does not take it, the next start finds a mark that lags, as after a power cut.
        """
        self._words.release()
        self._view.release()
        try:
            self._page.flush()
        except OSError as error:
            logger.warning(MARK_NOT_SYNCED.fill(reason=error.strerror))
        self._page.close()
