"""The tree of a log has the roots, proofs and tiles of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import write
from events.log.memory import MemoryLog
from events.log.port import Head
from events.transparency.merkle import (
    Frontier,
    is_consistent,
    leaf_hash,
    root_from_inclusion,
    root_of,
)
from events.transparency.tiles import TILE
from events.transparency.tree import ContinuedTree, Tree

RUN = 1_000
SIZES = [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000, 131_077]


class LongLog(MemoryLog):
    """A log whose lines are numbers; it is read in runs."""

    def __init__(self, size: int) -> None:
        super().__init__([b"%d" % number for number in range(size)], Head(size))

    def extend(self, size: int) -> None:
        """Append lines up to a size."""
        self._lines += [b"%d" % number for number in range(len(self._lines), size)]
        self.head = Head(size)

    def replace(self, index: int, line: bytes) -> None:
        """Replace a line, as an attacker would."""
        self._lines[index] = line

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            for start in range(0, len(lines), RUN):
                yield lines[start : start + RUN]


LONGEST = [leaf_hash(b"%d" % number) for number in range(max(SIZES))]


@pytest.mark.parametrize("size", SIZES)
async def test_roots_and_proofs_match_the_lines(size: int) -> None:
    tree, random = Tree(LongLog(size)), Random(size)
    assert await tree.grow() == tree.size == size
    for some in {0, size // 2, size, random.randint(0, size), min(size, TILE)}:
        root = root_of(LONGEST[:some])
        assert await tree.root(some) == root
        if some:
            index = random.randrange(some)
            proof = await tree.inclusion(index, some)
            assert root_from_inclusion(index, some, LONGEST[index], proof) == root
        old = random.randint(0, some)
        proof = await tree.consistency(old, some)
        assert is_consistent(old, some, root_of(LONGEST[:old]), root, proof)


@pytest.mark.parametrize("size", SIZES)
async def test_tiles_have_the_width_of_the_standard(size: int) -> None:
    """C2SP tlog-tiles: a partial tile has as many hashes as there are complete ones."""
    tree = Tree(LongLog(size))
    await tree.grow()
    hashes, level = LONGEST[:size], 0
    while hashes:
        for number in {0, len(hashes) // TILE}:
            wanted = hashes[number * TILE : (number + 1) * TILE]
            assert await tree.tile(level, number, TILE) == wanted
            assert await tree.tile(level, number, 1) == wanted[:1]
        whole = len(hashes) // TILE
        hashes = [root_of(hashes[at * TILE : (at + 1) * TILE]) for at in range(whole)]
        level += 1
    assert await tree.tile(level, 0, TILE) == []


async def test_concurrent_callers_grow_the_tree_with_the_log() -> None:
    log = LongLog(1_000)
    tree = Tree(log)
    assert set(await asyncio.gather(*(tree.grow() for _ in range(5)))) == {1_000}
    log.extend(1_300)
    await asyncio.gather(*(tree.grow() for _ in range(5)))
    assert await tree.root(1_300) == root_of(LONGEST[:1_300])
    assert await tree.root(1_000) == root_of(LONGEST[:1_000])


class CountingLog(LongLog):
    """A log that counts its reads."""

    reads = 0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        self.reads += 1
        async for lines in super().read(after, upto):
            yield lines


async def test_concurrent_requests_for_a_tile_read_the_log_once() -> None:
    log = CountingLog(10 * TILE)
    tree = Tree(log)
    await tree.grow()
    log.reads = 0
    await asyncio.gather(*(tree.consistency(3 * TILE - 1, 10 * TILE) for _ in range(50)))
    assert log.reads == 1


async def test_only_the_tiles_used_last_are_cached() -> None:

    log = CountingLog(5 * TILE)
    tree = Tree(log, max_cached_tiles=2)
    await tree.grow()
    log.reads = 0
    for number, reads in [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4), (2, 5)]:
        wanted = LONGEST[number * TILE : (number + 1) * TILE]
        assert await tree.tile(0, number, TILE) == wanted
        assert log.reads == reads


async def test_a_continued_tree_has_the_roots_of_shorter_ones_too() -> None:
    """Also of those below the known lines: another process may have changed what was signed."""
    lines = write([registered(1, "ann"), *(created(number, 1) for number in range(1, 40))])
    leaves = [leaf_hash(line) for line in lines.lines]
    known = Frontier()
    for leaf in leaves[:21]:
        known.add(leaf)
    log = MemoryLog(lines.lines, Head(40, lines.records[-1].hash))
    tree = ContinuedTree(log, known, lines.records[20])
    assert await tree.grow() == tree.size == 40
    for size in (0, 1, 20, 21, 22, 39, 40):
        assert await tree.root(size) == root_of(leaves[:size])
    assert (known.size, known.root) == (21, root_of(leaves[:21]))
