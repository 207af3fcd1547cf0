"""The tree of a log has the roots, proofs and tiles of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from random import Random

import pytest

from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import write
from events.codec import link, stated_hash
from events.errors import DamagedLog
from events.log.check import follow_chain
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import GENESIS, START
from events.transparency.merkle import Frontier, leaf_hash, root_of
from events.transparency.tiles import TILE
from events.transparency.tree import ContinuedTree, Tree
from tests.events.transparency.proof_checks import is_consistent, root_from_inclusion

RUN = 1_000
SIZES = [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000, 131_077]


def chained(bodies: Iterable[bytes], previous: bytes = GENESIS) -> Iterator[bytes]:
    """Lines with these bodies that continue a chain."""
    for body in bodies:
        previous = link(previous, body)
        yield body + b',"hash":"%b"}' % previous.hex().encode()


def numbered(start: int, end: int) -> list[bytes]:
    """The bodies of the lines at these indexes."""
    return [b"%d" % number for number in range(start, end)]


LINES = list(chained(numbered(0, max(SIZES))))
LONGEST = list(map(leaf_hash, LINES))


class LongLog(MemoryLog):
    """A log whose lines are numbers and hashes; it is read in runs."""

    def __init__(self, size: int) -> None:
        super().__init__(LINES[:size], Head(size))

    def extend(self, size: int) -> None:
        """Append lines up to a size."""
        previous = stated_hash(self._lines[-1]) if self._lines else GENESIS
        self._lines += chained(numbered(len(self._lines), size), previous)
        self.head = Head(size)

    def replace(self, index: int, body: bytes) -> None:
        """Replace a line and the hashes from there on, as an attacker would."""
        previous = stated_hash(self._lines[index - 1]) if index else GENESIS
        bodies = [body, *numbered(index + 1, len(self._lines))]
        self._lines[index:] = chained(bodies, previous)

    def flip(self, index: int) -> None:
        """Flip a bit of a line, as a disk would."""
        line = bytearray(self._lines[index])
        line[0] ^= 1
        self._lines[index] = bytes(line)

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            for start in range(0, len(lines), RUN):
                yield lines[start : start + RUN]


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


@pytest.mark.parametrize("index", [0, 299, 300, 512])
async def test_a_tree_grows_only_from_lines_that_continue_the_chain(index: int) -> None:
    """A line may be damaged after the log was checked, and no signature may cover it."""
    log = LongLog(513)
    log.flip(index)
    tree = Tree(log)
    with pytest.raises(DamagedLog) as damage:
        await tree.grow()
    assert damage.value.position == index + 1
    assert tree.size <= index
    log.flip(index)
    assert await tree.grow() == 513
    assert await tree.root(513) == root_of(LONGEST[:513])


async def test_a_tree_that_the_check_began_continues_its_chain() -> None:
    log = LongLog(513)
    runs = [run async for run in follow_chain(log, START, 200)]
    tree = Tree(log)
    for last, lines in runs:
        tree.extend(last, lines)
    log.flip(249)
    with pytest.raises(DamagedLog) as damage:
        await tree.grow()
    assert damage.value.position == 250


async def test_lines_that_do_not_follow_the_tree_are_refused() -> None:
    """A line that was left out would be left out of what is signed."""
    first, second, *_ = [run async for run in follow_chain(LongLog(300), START, 300)]
    tree = Tree(LongLog(300))
    with pytest.raises(ValueError, match=r"^128 is not 64 lines after 0$"):
        tree.extend(*second)
    tree.extend(*first)
    with pytest.raises(ValueError, match="after 64"):
        tree.extend(*first)
    assert await tree.grow() == 300
    assert await tree.root(300) == root_of(LONGEST[:300])


async def test_a_tile_that_is_read_again_has_the_lines_of_the_tree() -> None:
    """Clients keep a tile for a year, so one of damaged lines may not be served."""
    log = LongLog(3 * TILE)
    tree = Tree(log)
    await tree.grow()
    log.flip(TILE + 7)
    assert await tree.tile(0, 0, TILE) == LONGEST[:TILE]
    for _ in range(2):  # It is not cached either.
        with pytest.raises(DamagedLog, match="position 257"):
            await tree.tile(0, 1, TILE)
    with pytest.raises(DamagedLog):
        await tree.inclusion(TILE, 3 * TILE)
    log.flip(TILE + 7)
    assert await tree.tile(0, 1, TILE) == LONGEST[TILE : 2 * TILE]


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
