"""Counters shared by all processes of a machine, in a memory-mapped table.

The table is written under `flock`. It has a fixed size, so no number of callers fills the memory. A key belongs to one bucket of
eight slots. When all are taken, the slot with the lowest count makes room, and among equal counts the
one whose window ends first. So a flood of new addresses evicts its own entries, and hardly ever
a caller near a limit.

::

    bucket   8 tags u64 | 8 slots: end of the window f64, count u64
    end      in seconds of CLOCK_MONOTONIC, which all processes share

Keys are hashed under a secret, so the file contains no name and no address. With the secret, a
dictionary of names would find its entries; therefore ended windows are wiped. The content may be
lost at any time and is never synced. An end further away than the window is long was written before
a reboot and is ignored.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from eventapi.ratelimit.rate import MAX_WINDOW_SECONDS, Window
from events.io.files import make_directory, open_or_make
from events.messages.server_log import LIMITS_APART

logger = logging.getLogger("eventapi.ratelimit")

BUCKETS = 16_384
_SLOTS_PER_BUCKET = 8
_PLACE = struct.Struct("=QQ")
_TAGS = struct.Struct(f"={_SLOTS_PER_BUCKET}Q")
_TAG = struct.Struct("=Q")
_NO_TAGS = bytes(_TAGS.size)
_SLOT = struct.Struct("=dQ")
_BUCKET_BYTES = _TAGS.size + _SLOTS_PER_BUCKET * _SLOT.size
FILE_BYTES = BUCKETS * _BUCKET_BYTES

_LOCK = fcntl.LOCK_EX | fcntl.LOCK_NB
_LOCK_TIMEOUT_SECONDS = 0.25
"""The lock is held for microseconds, so a holder that exceeds this was stopped; count without it."""

_LOCK_RETRY_SECONDS = 0.000_02
_CACHED_KEYS = 8_192


class SharedCounters:
    """The table, in a file that is created if missing, or in memory."""

    def __init__(
        self, path: Path | None, secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._secret = blake2b(secret.encode(), digest_size=32, person=b"eventapi limits").digest()
        self._file, self._map = _map_file(path)
        self._locate_cached = lru_cache(_CACHED_KEYS)(self._locate)

    def add(self, key: str, seconds: int, amount: int = 1) -> Window:
        """Add to the count of a key, in a window of ``seconds``; return the window."""
        bucket, tag = self._locate_cached(key)
        with self._locked():
            now = self._clock()
            slot, end, count = self._claim_slot(bucket, tag, now)
            left = end - now
            if not 0 < left <= seconds:
                count, left = 0, float(seconds)
            _SLOT.pack_into(self._map, slot, now + left, count + amount)
        return Window(count + amount, left)

    def get(self, key: str, seconds: int) -> Window:
        """The window of a key, unchanged."""
        bucket, tag = self._locate_cached(key)
        with self._locked():
            tags = _TAGS.unpack_from(self._map, bucket)
            if tag in tags:
                end, count = _SLOT.unpack_from(self._map, _slot_at(bucket, tags.index(tag)))
                left = end - self._clock()
                if 0 < left <= seconds:
                    return Window(count, left)
        return Window(0, float(seconds))

    def clear(self, key: str) -> None:
        """Remove the window of a key."""
        bucket, tag = self._locate_cached(key)
        with self._locked():
            tags = _TAGS.unpack_from(self._map, bucket)
            if tag in tags:
                self._wipe(bucket, tags.index(tag))

    def sweep(self, first: int, buckets: int) -> None:
        """Wipe windows that ended, or are from before a reboot, in a range of buckets."""
        with self._locked():
            now = self._clock()
            for bucket in range(first, min(first + buckets, BUCKETS)):
                self._sweep(bucket * _BUCKET_BYTES, now)

    def _sweep(self, bucket: int, now: float) -> None:
        if self._map[bucket : bucket + _TAGS.size] == _NO_TAGS:
            return
        for index, tag in enumerate(_TAGS.unpack_from(self._map, bucket)):
            end, _ = _SLOT.unpack_from(self._map, _slot_at(bucket, index))
            if tag and not 0 < end - now <= MAX_WINDOW_SECONDS:
                self._wipe(bucket, index)

    def _wipe(self, bucket: int, index: int) -> None:
        _TAG.pack_into(self._map, bucket + index * _TAG.size, 0)
        _SLOT.pack_into(self._map, _slot_at(bucket, index), 0.0, 0)

    def close(self) -> None:
        """Unmap and close the file."""
        self._map.close()
        if self._file is not None:
            os.close(self._file)

    def _claim_slot(self, bucket: int, tag: int, now: float) -> tuple[int, float, int]:
        """The slot, window end and count of a tag; evicts another tag if needed."""
        tags = _TAGS.unpack_from(self._map, bucket)
        if tag in tags:
            slot = _slot_at(bucket, tags.index(tag))
            return slot, *_SLOT.unpack_from(self._map, slot)
        slots: list[tuple[float, int]] = [
            _SLOT.unpack_from(self._map, _slot_at(bucket, index))
            for index in range(_SLOTS_PER_BUCKET)
        ]
        evicted = min(
            range(_SLOTS_PER_BUCKET), key=lambda index: _eviction_order(slots[index], now)
        )
        _TAG.pack_into(self._map, bucket + evicted * _TAG.size, tag)
        return _slot_at(bucket, evicted), 0.0, 0

    def _locate(self, key: str) -> tuple[int, int]:
        """The bucket of a key, and its tag, which is never 0."""
        digest = blake2b(key.encode(errors="replace"), digest_size=16, key=self._secret).digest()
        bucket, tag = _PLACE.unpack(digest)
        return bucket % BUCKETS * _BUCKET_BYTES, tag or 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        held = self._file is not None and self._acquire(self._file)
        try:
            yield
        finally:
            if held and self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    @staticmethod
    def _acquire(file: int) -> bool:
        """Acquire the lock; ``False`` after a time-out."""
        deadline = None
        while True:
            try:
                fcntl.flock(file, _LOCK)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + _LOCK_TIMEOUT_SECONDS
                if now > deadline:
                    return False
                time.sleep(_LOCK_RETRY_SECONDS)
            else:
                return True


def _slot_at(bucket: int, index: int) -> int:
    return bucket + _TAGS.size + index * _SLOT.size


def _eviction_order(slot: tuple[float, int], now: float) -> tuple[int, float]:
    """The sort key for eviction: ended windows, then low counts, then early ends."""
    end, count = slot
    return (count, end) if end > now else (0, 0.0)


def _map_file(path: Path | None) -> tuple[int | None, mmap.mmap]:
    if path is None:
        return None, mmap.mmap(-1, FILE_BYTES)
    file = None
    try:
        if not path.parent.is_dir():
            make_directory(path.parent)
        file = open_or_make(path, os.O_RDWR)
        # Allocate real blocks: a store into a hole raises SIGBUS on a full disk. Processes may race
        # here, because the file only ever grows to this size.
        os.posix_fallocate(file, 0, FILE_BYTES)
        return file, mmap.mmap(file, FILE_BYTES)
    except OSError as error:
        # Do not fail the start: reads must work on a full disk.
        logger.warning(LIMITS_APART.fill(path=path, reason=error))
        if file is not None:
            os.close(file)
        return None, mmap.mmap(-1, FILE_BYTES)
