"""The tree of a log, of which only the roots of whole tiles are kept, is the tree of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from events.log.memory import MemoryLog
from events.log.port import Head
from events.transparency.merkle import is_consistent, leaf_hash, root_from_inclusion, root_of
from events.transparency.tree import TILE, Tree

RUN = 1_000
SIZES = [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000, 131_077]


class LongLog(MemoryLog):
    """A log of numbers, which are as good as lines here; it is read in runs."""

    def __init__(self, size: int) -> None:
        super().__init__([b"%d" % number for number in range(size)], Head(size))

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            for start in range(0, len(lines), RUN):
                yield lines[start : start + RUN]


LONGEST = [leaf_hash(b"%d" % number) for number in range(max(SIZES))]


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_proofs_are_those_of_the_lines(size: int) -> None:
    async def check() -> None:
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

    asyncio.run(check())


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_as_wide_as_the_standard_says(size: int) -> None:
    """C2SP tlog-tiles: a partial tile at a level has as many hashes as there are whole ones."""

    async def check() -> None:
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

    asyncio.run(check())


def test_it_grows_with_the_log_whoever_asks() -> None:
    async def check() -> None:
        log = LongLog(1_000)
        tree = Tree(log)
        assert set(await asyncio.gather(*(tree.grow() for _ in range(5)))) == {1_000}
        log._lines += [b"%d" % number for number in range(1_000, 1_300)]
        log.head = Head(1_300)
        await asyncio.gather(*(tree.grow() for _ in range(5)))
        assert await tree.root(1_300) == root_of(LONGEST[:1_300])
        assert await tree.root(1_000) == root_of(LONGEST[:1_000])

    asyncio.run(check())


class CountingLog(LongLog):
    """Counts how often lines are read."""

    reads = 0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        self.reads += 1
        async for lines in super().read(after, upto):
            yield lines


def test_a_tile_that_is_asked_for_again_is_not_read_again() -> None:
    async def check() -> None:
        log = CountingLog(10 * TILE)
        tree = Tree(log)
        await tree.grow()
        log.reads = 0
        await asyncio.gather(*(tree.consistency(3 * TILE - 1, 10 * TILE) for _ in range(50)))
        assert log.reads == 1

    asyncio.run(check())


def test_only_so_many_tiles_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.transparency.tree.TILES_KEPT", 2)

    async def check() -> None:
        tree = Tree(LongLog(5 * TILE))
        await tree.grow()
        for number in (0, 1, 0, 2, 3, 0):
            wanted = LONGEST[number * TILE : (number + 1) * TILE]
            assert await tree.tile(0, number, TILE) == wanted
            assert len(tree._tiles) <= 2

    asyncio.run(check())
