"""A line of a log file is found by its position, without reading the lines before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.log.file import lines as lines_module
from events.log.file.commit_index import CommitPoint
from events.log.file.lines import OffsetIndex
from events.log.file.search import WINDOW_BYTES, find_end
from events.log.file.segments import SegmentedFile
from events.log.port import Head
from tests.events.log_helpers import append, open_file_log, overwrite, read_all

_LENGTHS = st.lists(st.sampled_from([60, 61, 300, 5_000, 65_535]), min_size=1, max_size=400)


def line(position: int, length: int) -> bytes:
    """The bytes of a line of some length, as far as a search reads it."""
    return b'{"specversion":"1.0","id":"%d","x":"' % position + b"x" * max(length - 60, 0) + b'"}\n'


def reader(content: bytes) -> Callable[[int, int], bytes]:
    """A function that reads these bytes, as from a file."""
    return lambda size, offset: content[offset : offset + size]


def ends_of(lines: list[bytes]) -> list[int]:
    """The offset at which each line ends, by its position."""
    return [0, *accumulate(map(len, lines))]


@given(_LENGTHS, st.data())
def test_a_search_finds_the_end_of_any_line_between_any_two_places(
    lengths: list[int], data: st.DataObject
) -> None:
    lines = [line(number, length) for number, length in enumerate(lengths, 1)]
    ends = ends_of(lines)
    low = data.draw(st.integers(0, len(lines)))
    high = data.draw(st.integers(low, len(lines)))
    position = data.draw(st.integers(low, high))
    read = reader(b"".join(lines))
    assert find_end(read, position, (low, ends[low]), (high, ends[high])) == ends[position]


@given(_LENGTHS, st.integers(0), st.integers(0))
def test_a_search_in_a_damaged_file_ends(lengths: list[int], place: int, at: int) -> None:
    """It finds a place, or none; it neither fails nor goes on for ever."""
    lines = [line(number, length) for number, length in enumerate(lengths, 1)]
    content = bytearray(b"".join(lines))
    content[at % len(content)] ^= 1 + place % 255
    ends = ends_of(lines)
    for position in range(0, len(lines), 7):
        found = find_end(reader(bytes(content)), position, (0, 0), (len(lines), ends[-1]))
        assert found is None or 0 <= found <= ends[-1]


@example(1, 61, 2, 249)
@given(st.integers(1, 60), st.integers(61, 200), st.integers(1, 140), st.integers(1, 250))
def test_a_search_among_repeated_lines_ends(at: int, first: int, count: int, position: int) -> None:
    """Lines were pasted at another place: positions there do not ascend."""
    lines = [line(number, 9_000) for number in range(1, 251)]
    damaged = [*lines[:at], *lines[first : first + count], *lines[at:]]
    end = ends_of(lines)[-1]  # That of the mark, which knows nothing of it.
    found = find_end(reader(b"".join(damaged)), position, (0, 0), (250, end))
    assert found is None or 0 <= found <= end


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_search_in_a_file_that_is_no_log_finds_nothing(step: int) -> None:
    content = Random(step).randbytes(30 * WINDOW_BYTES)
    assert find_end(reader(content), 500 * step, (0, 0), (9_000, len(content))) is None


def test_a_search_reads_a_few_pieces_of_a_long_file() -> None:
    """Also if the second half has much longer lines than the first."""
    lines = [line(number, 100 if number < 40_000 else 2_000) for number in range(1, 50_001)]
    ends = ends_of(lines)
    reads: list[int] = []
    read = reader(b"".join(lines))

    def counted(size: int, at: int) -> bytes:
        reads.append(size)
        return read(size, at)

    for position in (1, 777, 20_000, 39_999, 40_000, 44_444, 49_999):
        reads.clear()
        assert find_end(counted, position, (0, 0), (50_000, ends[-1])) == ends[position]
        assert len(reads) <= 12
        assert sum(reads) < len(lines[-1]) * 1_000


# The log


async def bytes_read(
    path: Path, after: int, upto: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[bytes], int]:
    """Some lines from a log that was just opened, and how many bytes of chunks were read."""
    count = 0
    async with open_file_log(path) as log:
        chunks = log._chunks

        async def counted(file: SegmentedFile, start: int, end: int) -> AsyncGenerator[bytes, None]:
            nonlocal count
            async with aclosing(chunks(file, start, end)) as all_chunks:
                async for chunk in all_chunks:
                    count += len(chunk)
                    yield chunk

        monkeypatch.setattr(log, "_chunks", counted)
        return await read_all(log, after, upto), count


@pytest.fixture
async def long_log(tmp_path: Path) -> tuple[Path, list[bytes]]:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        return path, await append(log, 6_000)


async def test_a_line_is_read_without_the_lines_before_it(
    long_log: tuple[Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lines = long_log
    for position in (2_500, 4_000, 5_999, 6_000):
        found, count = await bytes_read(path, position - 1, position, monkeypatch)
        assert found == [lines[position - 1]]
        assert count <= lines_module.BYTES_PER_RUN


async def test_control_without_a_search_the_lines_before_it_are_read(
    long_log: tuple[Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "find_end", lambda *_: None)
    path, lines = long_log
    found, count = await bytes_read(path, 5_998, 5_999, monkeypatch)
    assert found == [lines[5_998]]
    assert count > lines_module.BYTES_PER_RUN


async def test_lines_of_a_damaged_log_are_counted(
    long_log: tuple[Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the damage is not found, a position is the same line as it was before."""
    path, lines = long_log
    start = sum(map(len, lines[:4_999])) + 4_999
    overwrite(path, start, b"?" * 20)
    found, _ = await bytes_read(path, 4_998, 5_001, monkeypatch)
    assert found == [lines[4_998], b"?" * 20 + lines[4_999][20:], lines[5_000]]


async def test_reads_in_any_order_return_the_lines(long_log: tuple[Path, list[bytes]]) -> None:
    path, lines = long_log
    random = Random(3)
    async with open_file_log(path) as log:
        for _ in range(100):
            after = random.randrange(6_000)
            upto = after + random.randrange(1, 2_600)
            assert await read_all(log, after, upto) == lines[after:upto]


@given(st.lists(st.integers(1, 20_000), unique=True), st.integers(0, 20_000))
def test_the_index_is_filled_in_any_order(positions: list[int], wanted: int) -> None:
    index, published = OffsetIndex(), CommitPoint(200_000, Head(20_000))
    for position in positions:
        index.add_end(position, position * 10)
    before, start = index.at_or_before(wanted)
    after, end = index.at_or_after(wanted, published)
    assert 0 <= before <= wanted <= after <= 20_000
    assert (start, end) == (before * 10, after * 10)
    assert max(positions, default=0) == index.at_or_before(20_000)[0]
    assert all(one < other for one, other in pairwise(index._positions))
