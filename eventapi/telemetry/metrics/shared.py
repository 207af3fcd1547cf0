"""Numbers in a memory-mapped file, in the format of prometheus-client.

::

    file     used i32 | 4 unused | entries up to ``used``
    entry    length of the key i32 | key in UTF-8 | 1 to 8 blanks, up to a multiple of 8 | value f64 | time f64

The library reads the files and adds them up, but does not write them: it looks a value up by its key
each time, and extends a file by a hole, so that a store on a full disk ends the process.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path
from typing import Final, TypeAlias

from prometheus_client.mmap_dict import MmapedDict

from events.io.files import open_or_make

Values: TypeAlias = "memoryview[float]"
"""The file as numbers; values are aligned to their size."""

_LENGTH: Final = struct.Struct("=i")
_NUMBER: Final = 8
_ENTRY_NUMBERS: Final = bytes(2 * _NUMBER)


class MetricsFile:
    """The numbers of one process, which outlive it; other processes only read them."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the file, or create it with mode 0600.

        Raises `OSError`, also if the disk is full or the file is damaged.
        """
        descriptor = open_or_make(path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self.values: Values = memoryview(self._map).cast("d")
        self._used: int = max(_LENGTH.unpack_from(self._map)[0], _NUMBER)
        self._publish(self._used)
        try:
            entries = MmapedDict.read_all_values_from_file(str(path))
            self._places: dict[str, int] = {key: at // _NUMBER for key, _, _, at in entries}
        except (struct.error, RuntimeError, UnicodeDecodeError) as error:
            self.close()
            raise OSError(errno.EIO, f"{path} is damaged: {error}") from None

    def index_of(self, key: str) -> int:
        """The index of the value of a key, followed by its time; a new value is 0.

        If the file is full, the index is that of a value that no process reads.
        """
        found = self._places.get(key)
        return self._append(key) if found is None else found

    def close(self) -> None:
        """Unmap the file, which stays."""
        self.values.release()
        self._map.close()

    def _append(self, key: str) -> int:
        encoded = key.encode()
        blanks = b" " * (_NUMBER - (len(encoded) + _LENGTH.size) % _NUMBER)
        entry = _LENGTH.pack(len(encoded)) + encoded + blanks + _ENTRY_NUMBERS
        end = self._used + len(entry)
        if end > len(self._map) - len(_ENTRY_NUMBERS):
            return len(self.values) - 2
        self._map[self._used : end] = entry
        self._publish(end)
        self._places[key] = place = end // _NUMBER - 2
        return place

    def _publish(self, used: int) -> None:
        """Publish new entries to readers, in one store; `struct` would write zeros first."""
        self._map[: _LENGTH.size] = _LENGTH.pack(used)
        self._used = used
