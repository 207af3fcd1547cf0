"""The log in an archive, open for reading: the checkpoint proves every line.

The hashes of the lines of a bundle give the hash of their tile, which is in a tile one level
higher, and so on up to the right edge, which the checkpoint proves. Nothing is trusted before that:
an object that is wrong raises `DamagedLog`, and none of its lines is returned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from events.archive.ahead import fetch_ahead
from events.archive.damage import damaged
from events.archive.edge import RightEdge, get_bundle, get_tile, read_checkpoint, read_edge
from events.archive.objects import Objects
from events.codec import stated_hash
from events.errors import ConfigurationError, LogUnavailable
from events.log.port import Head
from events.messages.archives import ARCHIVE_READ_ONLY, NO_ARCHIVE
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note
from events.transparency.tiles import (
    TILE,
    decode_bundle,
    entries_path,
    split_tile,
    tile_path,
)

_MAX_CACHED_BYTES: Final = 1 << 24
"""Bytes of bundles in memory for reads of single lines; one bundle is always kept."""

_MAX_CACHED_TILES: Final = 64
"""Tiles of hashes in memory, 8 KiB each."""


class ArchivedLog:
    """The log in an archive; appends are refused.

    It is as long as the checkpoint stated when it was opened.
    """

    def __init__(self, objects: Objects, edge: RightEdge) -> None:
        """``edge`` is the right edge of the archive; see `open`."""
        self._objects = objects
        self._edge = edge
        self._size = edge.head.size
        self._tiles: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()
        """The bundles of which only a part was read, ordered by last use."""
        self._cached_bytes = 0

    @classmethod
    async def open(cls, objects: Objects) -> ArchivedLog:
        """Open an archive.

        Raises `ConfigurationError` if there is none, `DamagedLog` and `LogUnreachable`.
        """
        note = await read_checkpoint(objects)
        if note is None:
            raise ConfigurationError(NO_ARCHIVE.fill(place=objects.name))
        return cls(objects, await read_edge(objects, note))

    @property
    def name(self) -> str:
        """The place of the archive, as it is shown in messages."""
        return self._objects.name

    @property
    def checkpoint(self) -> Note:
        """The checkpoint that proves the lines. Its signature is not checked."""
        return self._edge.note

    @property
    def position(self) -> int:
        return self._size

    @property
    def lost_for(self) -> float:
        return 0.0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        """As the port; bundles are fetched ahead, and raises `DamagedLog`."""
        end = self._size if upto is None else min(upto, self._size)
        if after >= end:
            return
        numbers = range(after // TILE, (end - 1) // TILE + 1)
        async with aclosing(fetch_ahead(self._bundle, numbers)) as bundles:
            start = numbers[0] * TILE
            async for lines in bundles:
                wanted = lines[max(after - start, 0) : end - start]
                if len(wanted) < len(lines):
                    self._keep(start // TILE, lines)
                yield wanted
                start += TILE

    async def _bundle(self, number: int) -> list[bytes]:
        """The proven lines of a bundle; raises `DamagedLog`."""
        if number in self._bundles:
            self._bundles.move_to_end(number)
            return self._bundles[number]
        start = number * TILE
        width = min(TILE, self._size - start)
        path = entries_path(number, width)
        content = await get_bundle(self._objects, number, width)
        if content is None:
            raise damaged(self.name, f"{path} is missing", start + 1)
        lines, is_whole = decode_bundle(content)
        if not is_whole or len(lines) != width:
            raise damaged(self.name, f"{path} is not a bundle of {width} lines", start + 1)
        leaves = [leaf_hash(line) for line in lines]
        if width < TILE:
            is_proven = leaves == self._at_edge(0, start)
        else:
            is_proven = root_of(leaves) == await self._hash(1, number)
        if not is_proven:
            reason = f"{path} is not what the checkpoint proves"
            raise damaged(self.name, reason, start + 1)
        return lines

    def _keep(self, number: int, lines: list[bytes]) -> None:
        if number in self._bundles:
            return
        self._bundles[number] = lines
        self._cached_bytes += sum(map(len, lines))
        while self._cached_bytes > _MAX_CACHED_BYTES and len(self._bundles) > 1:
            _, dropped = self._bundles.popitem(last=False)
            self._cached_bytes -= sum(map(len, dropped))

    def _at_edge(self, level: int, start: int) -> list[bytes]:
        """The hashes at the right edge if they begin with that index, or none."""
        levels = self._edge.levels
        is_there = level < len(levels) and start == self._size >> 8 * level & -TILE
        return levels[level] if is_there else []

    async def _hash(self, level: int, index: int) -> bytes:
        """The proven hash of a complete tile of the level below; raises `DamagedLog`."""
        number, place = divmod(index, TILE)
        if found := self._at_edge(level, number * TILE):
            return found[place]
        return (await self._tile(level, number))[place]

    async def _tile(self, level: int, number: int) -> list[bytes]:
        key = (level, number)
        if key not in self._tiles:
            content = await get_tile(self._objects, level, number)
            hashes = split_tile(content or b"")
            if len(hashes) != TILE or root_of(hashes) != await self._hash(level + 1, number):
                wrong = "is missing" if content is None else "is not what the checkpoint proves"
                position = (number * TILE << 8 * level) + 1
                raise damaged(self.name, f"{tile_path(level, number)} {wrong}", position)
            self._tiles[key] = hashes
            if len(self._tiles) > _MAX_CACHED_TILES:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(key)
        return self._tiles[key]

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[_RefusingAppender]:
        """Yield an appender that refuses every append, so that a journal can read.

        There is nothing to lock.
        """
        digest = Head().hash
        async for lines in self.read(max(self._size - 1, 0)):
            digest = stated_hash(lines[-1])
        yield _RefusingAppender(Head(self._size, digest), self._objects.name)

    async def release_reserve(self) -> bool:
        return False

    async def close(self) -> None:
        self._bundles.clear()
        self._tiles.clear()


class _RefusingAppender:
    def __init__(self, head: Head, place: str) -> None:
        self.head = head
        self._place = place

    def keep_reserve(self) -> None:
        """There is no reserve, because nothing is written."""

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        raise LogUnavailable(ARCHIVE_READ_ONLY.fill(place=self._place))
