"""A simulated disk with a page cache.

* Processes see the cache. Only synced data is certain to be on the platter.
* A power cut keeps any part of the unsynced data: all, none, any pages or sectors in any order, with
  NUL bytes where a file was extended but its blocks were not written. The same holds for unsynced
  directory entries.
* A failed sync marks dirty pages clean, as ext4 does: a later sync succeeds without writing them.
  Directory entries stay in the file system's journal, so a later directory sync does write them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

SECTOR = 512
PAGE = 4096


_inodes = count(1)


class Inode:
    """A file or a directory."""

    def __init__(self) -> None:
        self.number = next(_inodes)
        self.locked_by = 0
        """The descriptor that holds the lock, or 0."""


class File(Inode):
    """Processes read ``cache``; ``platter`` survives a power cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = bytearray()
        self.platter = bytearray()
        self.changes = 0
        self._versions: list[tuple[bytes, set[int]]] = []
        self._mapped = False

    def write(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        if end > len(self.cache):
            self.cache.extend(bytes(end - len(self.cache)))
        self.cache[offset:end] = data
        self._record_version(range(offset // PAGE, (end - 1) // PAGE + 1))

    def truncate(self, size: int) -> None:
        del self.cache[size:]
        self.cache.extend(bytes(size - len(self.cache)))
        self._record_version(range(size // PAGE, size // PAGE + 1))

    def _record_version(self, pages: range) -> None:
        self.changes += 1
        dirty = set(self._versions[-1][1]) if self._versions else set()
        self._versions.append((bytes(self.cache), dirty.union(pages)))

    def store(self, data: bytes, offset: int, random: Random) -> None:
        """Store through a mapping; the kernel may write the page back just before."""
        if random.random() < 0.1:
            self.platter[:] = self.cache
        self.cache[offset : offset + len(data)] = data
        self._mapped = True

    def sync(self) -> None:
        """Write the dirty pages; pages that a failed sync marked clean are not among them."""
        if self._mapped:
            self.platter[:] = self.cache
        elif self._versions:
            _, dirty = self._versions[-1]
            size = len(self.cache)
            del self.platter[size:]
            self.platter.extend(bytes(size - len(self.platter)))
            for page in dirty:
                start = page * PAGE
                self.platter[start : start + PAGE] = self.cache[start : start + PAGE]
        self._forget()

    def fail_to_sync(self, random: Random) -> None:
        """Write some of the dirty pages and mark all of them clean."""
        self.platter = self._partly_written(random)
        self._forget()

    def cut_power(self, random: Random) -> None:
        self.platter = self._partly_written(random)
        self.cache = bytearray(self.platter)
        self.changes += 1
        self.locked_by = 0
        self._forget()

    def rot(self, random: Random) -> None:
        """Damage the platter: truncate, zero a sector, or flip a bit."""
        at = random.randrange(len(self.platter))
        match random.randrange(5):
            case 0:
                del self.platter[at:]
            case 1:
                start = at // SECTOR * SECTOR
                end = min(start + SECTOR, len(self.platter))
                self.platter[start:end] = bytes(end - start)
            case _:
                self.platter[at] ^= 1 << random.randrange(8)
        self.cache = bytearray(self.platter)
        self.changes += 1

    def _forget(self) -> None:
        self._versions.clear()
        self._mapped = False

    def _partly_written(self, random: Random) -> bytearray:
        """The platter with any part of the changes since the last sync."""
        if self._mapped:
            return bytearray(self.cache if random.random() < 0.5 else self.platter)
        newest = len(self._versions)
        if not newest:
            return self.platter
        together = random.randint(0, newest)
        ways: tuple[tuple[int, Callable[[], int]], ...] = (
            (PAGE, lambda: together),
            (PAGE, lambda: newest),
            (PAGE, lambda: random.randint(0, newest)),
            (SECTOR, lambda: random.randint(0, newest)),
            (SECTOR, lambda: random.choice((0, newest))),
        )
        unit, pick = random.choice(ways)
        return self._assembled(self._possible_size(random, pick()), unit, pick)

    def _possible_size(self, random: Random, version: int) -> int:
        before = len(self.platter)
        size = len(self._versions[version - 1][0]) if version else before
        if size > before and random.random() < 0.3:
            return min(random.randint(before, size) // SECTOR * SECTOR + SECTOR, size)
        return size

    def _assembled(self, size: int, unit: int, pick: Callable[[], int]) -> bytearray:
        """A file of that size; each unit is from some version since the last sync."""
        result = bytearray(self.platter[:size])
        result.extend(bytes(size - len(result)))
        for start in range(0, size, unit):
            version = pick()
            if version:
                content, dirty = self._versions[version - 1]
                if start // PAGE in dirty:
                    end = min(start + unit, size)
                    result[start:end] = content[start:end].ljust(end - start, b"\0")
        return result


class Folder(Inode):
    """Processes see ``entries``; ``durable`` survives a power cut."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self._changes: list[dict[str, Node | None]] = []

    def change(self, changes: dict[str, Node | None]) -> None:
        """Set and remove entries atomically."""
        _apply(changes, self.entries)
        self._changes.append(changes)

    def sync(self) -> None:
        self.durable = dict(self.entries)
        self._changes.clear()

    def cut_power(self, random: Random) -> None:
        in_order = random.random() < 0.5
        first = random.randint(0, len(self._changes))
        for number, changes in enumerate(self._changes):
            if number < first if in_order else random.random() < 0.5:
                _apply(changes, self.durable)
        self._changes.clear()
        self.entries = dict(self.durable)
        for node in {id(node): node for node in self.entries.values()}.values():
            node.cut_power(random)


Node = File | Folder


def _apply(changes: dict[str, Node | None], entries: dict[str, Node]) -> None:
    for name, node in changes.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node
