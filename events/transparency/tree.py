"""The Merkle tree over a log; only the roots of complete tiles stay in memory.

A tile has 256 hashes of one level (C2SP tlog-tiles). Hashes of leaves are computed from the lines on
request, and the tiles used last are cached, because lines may be long and any client may request
proofs. The tree of a million lines takes 4,000 hashes and at most 8 MiB of cached leaves, and no
file that could be wrong.

A line may be damaged after it was written or checked, and a signature cannot be taken back. So a line
becomes a leaf only if the same bytes continue the hash chain, and the leaves of a tile that are read
again must have the root that the tree has.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from events.errors import DamagedLog
from events.log.check import follow_chain
from events.log.port import EventLog
from events.record import START, Record
from events.transparency.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    Range,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root_of,
    split,
)
from events.transparency.tiles import TILE, split_tile

MAX_CACHED_TILES = 1_024
"""Complete tiles of leaves in memory, 8 KiB each."""


class Tree:
    """The tree over a log's published lines; leaves count from 0, positions from 1."""

    def __init__(self, log: EventLog, max_cached_tiles: int = MAX_CACHED_TILES) -> None:
        self.require_checked: Callable[[], None] = lambda: None
        """Raises `LogNotChecked` while the chain of the lines is not checked yet."""
        self._log = log
        self._last = START
        """Position and hash of the last line in the tree."""
        self._max_cached_tiles = max_cached_tiles
        self._levels: list[list[bytes]] = []
        """The roots of the complete tiles of each level."""
        self._rest: list[bytes] = []
        """The hashes of the leaves after the last complete tile."""
        self._growing = asyncio.Lock()
        self._tiles: OrderedDict[int, bytes] = OrderedDict()
        """The hashes of the leaves of complete tiles, ordered by last use."""
        self._reading = asyncio.Lock()

    @property
    def size(self) -> int:
        """The number of leaves in the tree."""
        return len(self._levels[0]) * TILE + len(self._rest) if self._levels else len(self._rest)

    async def grow(self) -> int:
        """Add all published lines, and return the size.

        Raises `DamagedLog`, and `LogNotChecked` while nothing may be signed or proved.
        """
        self.require_checked()
        if self._log.position > self.size:
            async with self._growing:
                async for last, lines in follow_chain(self._log, self._last, self._log.position):
                    self.extend(last, lines)
        return self.size

    def extend(self, last: Record, lines: Sequence[bytes]) -> None:
        """Add lines whose chain was checked up to the last of them, ``last``.

        Raises `ValueError` if they do not follow the last line in the tree.
        """
        if last.position != self.size + len(lines):
            raise ValueError(f"{last.position} is not {len(lines)} lines after {self.size}")
        self._add([leaf_hash(line) for line in lines])
        self._last = last

    def _add(self, leaves: Sequence[bytes]) -> None:
        self._rest.extend(leaves)
        while len(self._rest) >= TILE:
            digest, self._rest = root_of(self._rest[:TILE]), self._rest[TILE:]
            for level in self._levels:
                level.append(digest)
                if len(level) % TILE:
                    break
                digest = root_of(level[-TILE:])
            else:
                self._levels.append([digest])

    async def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves; the tree must have that many."""
        return await self.subtree_root(0, size)

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that leaf ``index`` is in the tree of ``size`` leaves."""
        return await self._roots(inclusion_ranges(index, size))

    async def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof that the tree of ``size`` leaves begins with that of ``old``."""
        return await self._roots(consistency_ranges(old, size))

    async def tile(self, level: int, number: int, width: int) -> list[bytes]:
        """The first ``width`` hashes of a tile, or fewer if it is not complete."""
        start = number * TILE
        if level == 0:
            return await self._leaves(start, min(start + width, self.size))
        hashes = self._levels[level - 1] if level <= len(self._levels) else []
        return hashes[start : start + width]

    async def _roots(self, ranges: Sequence[Range]) -> list[bytes]:
        return [await self.subtree_root(start, end) for start, end in ranges]

    async def subtree_root(self, start: int, end: int) -> bytes:
        """The root over leaves that form a subtree, or the right edge of one."""
        size = end - start
        if size < TILE:
            return root_of(await self._leaves(start, end)) if size else EMPTY_ROOT
        unit, level = TILE, 0
        while size % (unit * TILE) == 0 and level + 1 < len(self._levels):
            unit, level = unit * TILE, level + 1
        if size % unit == 0:
            return root_of(self._levels[level][start // unit : end // unit])
        middle = start + split(size)
        return node_hash(
            await self.subtree_root(start, middle), await self.subtree_root(middle, end)
        )

    async def _leaves(self, start: int, end: int) -> list[bytes]:
        """The hashes of leaves within one tile."""
        if start >= self.size - len(self._rest):
            first = start - self.size + len(self._rest)
            return self._rest[first : first + end - start]
        number, first = divmod(start, TILE)
        tile = await self._tile(number)
        return split_tile(tile[first * HASH_BYTES : (first + end - start) * HASH_BYTES])

    async def _tile(self, number: int) -> bytes:
        """Leaf hashes of a complete tile; only one request at a time reads the log."""
        if number not in self._tiles:
            async with self._reading:
                if number not in self._tiles:
                    self._tiles[number] = await self._read_tile(number)
                    if len(self._tiles) > self._max_cached_tiles:
                        self._tiles.popitem(last=False)
        self._tiles.move_to_end(number)
        return self._tiles[number]

    async def _read_tile(self, number: int) -> bytes:
        start, end = number * TILE, (number + 1) * TILE
        leaves = [leaf_hash(line) async for run in self._log.read(start, end) for line in run]
        if root_of(leaves) != self._levels[0][number]:
            raise DamagedLog(
                f"the lines up to {end:,} are not those that are in the tree",
                position=start + 1,
                offset=0,
            )
        return b"".join(leaves)


class ContinuedTree(Tree):
    """The tree over a log whose first lines are known.

    Only the later ones are read and checked. It makes no proofs.
    """

    def __init__(self, log: EventLog, known: Frontier, last: Record) -> None:
        """``known`` is the tree over the lines up to the record ``last``."""
        super().__init__(log)
        self._known = known
        self._all = Frontier(known.size, known.subtrees)
        self._last = last

    @property
    def size(self) -> int:
        return self._all.size

    def _add(self, leaves: Sequence[bytes]) -> None:
        for leaf in leaves:
            self._all.add(leaf)

    async def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves.

        If there are more leaves, lines are read again: those after the known ones, or all of them
        if it has fewer than those.
        """
        if size == self.size:
            return self._all.root
        known = self._known
        tree = Frontier(known.size, known.subtrees) if size >= known.size else Frontier()
        async for lines in self._log.read(tree.size, size):
            for line in lines:
                tree.add(leaf_hash(line))
        return tree.root
