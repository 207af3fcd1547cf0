"""Counts shared by every process of a machine: a table in a memory-mapped file, under `flock`.

It has a fixed size, so no number of callers fills the memory. A key has one place, a bucket of
eight slots; where all are taken, the slot that counted least makes room, and of those the one whose
window ends first. So whoever comes with ever new addresses pushes out their like, and hardly ever
somebody who is near a limit.

::

    bucket   8 tags u64 | 8 slots: end of the window f64, count u64
    end      in the seconds of CLOCK_MONOTONIC, which is one for all processes

Keys are hashed under a secret: the file tells no name and no address. With the secret a dictionary
of addresses or names would find its hits, so a window that has ended is wiped. What the file holds
may be lost at any time, and is never synced; an end that is further away than the window is long is
that of another boot, and means nothing.
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
"""A lock is held for microseconds; whoever holds it for longer was stopped, and is not waited for."""

_LOCK_RETRY_SECONDS = 0.000_02
_CACHED_KEYS = 8_192


class SharedCounters:
    """The table, in a file that is made where there is none, or without one for this process."""

    def __init__(
        self, path: Path | None, secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._secret = blake2b(secret.encode(), digest_size=32, person=b"eventapi limits").digest()
        self._file, self._map = _map_file(path)
        self._locate_cached = lru_cache(_CACHED_KEYS)(self._locate)

    def add(self, key: str, seconds: int, times: int = 1) -> Window:
        """Count so many times more in the key's window, which is ``seconds`` long."""
        bucket, tag = self._locate_cached(key)
        with self._locked():
            now = self._clock()
            slot, end, count = self._claim_slot(bucket, tag, now)
            left = end - now
            if not 0 < left <= seconds:
                count, left = 0, float(seconds)
            _SLOT.pack_into(self._map, slot, now + left, count + times)
        return Window(count + times, left)

    def get(self, key: str, seconds: int) -> Window:
        """The key's window as it is."""
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
        """Forget the key's window."""
        bucket, tag = self._locate_cached(key)
        with self._locked():
            tags = _TAGS.unpack_from(self._map, bucket)
            if tag in tags:
                self._wipe(bucket, tags.index(tag))

    def sweep(self, first: int, buckets: int) -> None:
        """Wipe the windows that have ended, or are of another boot, in some of the buckets."""
        with self._locked():
            now = self._clock()
            for bucket in range(first, min(first + buckets, BUCKETS)):
                self._sweep(bucket * _BUCKET_BYTES, now)

    def _sweep(self, bucket: int, now: float) -> None:
        if self._map[bucket : bucket + _TAGS.size] == _NO_TAGS:
            return
        for way, tag in enumerate(_TAGS.unpack_from(self._map, bucket)):
            end, _ = _SLOT.unpack_from(self._map, _slot_at(bucket, way))
            if tag and not 0 < end - now <= MAX_WINDOW_SECONDS:
                self._wipe(bucket, way)

    def _wipe(self, bucket: int, way: int) -> None:
        _TAG.pack_into(self._map, bucket + way * _TAG.size, 0)
        _SLOT.pack_into(self._map, _slot_at(bucket, way), 0.0, 0)

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
        if self._file is not None:
            os.close(self._file)

    def _claim_slot(self, bucket: int, tag: int, now: float) -> tuple[int, float, int]:
        """Where a tag's slot is, when its window ends and what it has counted."""
        tags = _TAGS.unpack_from(self._map, bucket)
        if tag in tags:
            slot = _slot_at(bucket, tags.index(tag))
            return slot, *_SLOT.unpack_from(self._map, slot)
        slots: list[tuple[float, int]] = [
            _SLOT.unpack_from(self._map, _slot_at(bucket, way)) for way in range(_SLOTS_PER_BUCKET)
        ]
        way = min(range(_SLOTS_PER_BUCKET), key=lambda way: _eviction_order(slots[way], now))
        _TAG.pack_into(self._map, bucket + way * _TAG.size, tag)
        return _slot_at(bucket, way), 0.0, 0

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


def _slot_at(bucket: int, way: int) -> int:
    return bucket + _TAGS.size + way * _SLOT.size


def _eviction_order(slot: tuple[float, int], now: float) -> tuple[int, float]:
    """What a slot is worth keeping for; one that is over, nothing."""
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
        # Real blocks, not a hole: a full disk must not turn a store into SIGBUS. It only ever
        # grows, so it does not matter who is first.
        os.posix_fallocate(file, 0, FILE_BYTES)
        return file, mmap.mmap(file, FILE_BYTES)
    except OSError as error:
        # A server that still can be read from, on a full disk say, is not to stay down for this.
        logger.warning(LIMITS_APART.fill(path=path, reason=error))
        if file is not None:
            os.close(file)
        return None, mmap.mmap(-1, FILE_BYTES)
