"""A log whose first part is closed is the same log, for every process that uses it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.items import ITEMS
from events.codec import stated_hash
from events.errors import LogFenced
from events.log.copy import copy
from events.log.file.closing import close_segments
from events.log.file.commit_index import read_commit_point
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments, segments_path
from events.log.file.reader import JsonlReader
from events.log.file.segments import SegmentedFile, open_stream
from events.log.port import Head
from events.verification.verify import verify
from tests.events.log_helpers import (
    TILE,
    append,
    check_chain,
    file_bytes,
    in_event_loop,
    mark_of,
    open_file_log,
    publish,
    read_all,
    some_lines,
)
from tests.events.processes import BATCH, BATCHES, start

pytestmark = pytest.mark.usefixtures("small_tiles")


async def closed_log(path: Path, count: int = 30, segment_bytes: int = 2_000) -> list[bytes]:
    """Write a log and close its full segments; return its lines."""
    async with open_file_log(path) as log:
        lines = await append(log, count)
        assert await close_segments(log, segment_bytes, 5)
    assert len(closed_segments(path)) > 1
    return lines


def decompress(segment: Path) -> bytes:
    """The bytes of a segment, as ``zstdcat`` prints them."""
    frames = zstandard.ZstdDecompressor().stream_reader(
        segment.read_bytes(), read_across_frames=True
    )
    return frames.read()


def whole(path: Path) -> bytes:
    """The bytes of a log, as ``zstdcat`` of its segments and ``cat`` of its file print them."""
    return b"".join(map(decompress, closed_segments(path))) + path.read_bytes()


@asynccontextmanager
async def open_reader(path: Path) -> AsyncIterator[JsonlReader]:
    reader = JsonlReader(path)
    try:
        yield reader
    finally:
        await reader.close()


# The law

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), st.integers(1, 9)),
        st.tuples(st.just("close"), st.integers(0, 1), st.sampled_from([1, 1_500, 4_000])),
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 40)),
        st.tuples(st.just("reopen"), st.integers(0, 2), st.just(0)),
    ),
    max_size=20,
)


@given(STEPS)
@in_event_loop
async def test_law_any_interleaving_equals_the_list_of_lines(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, int, int]]
) -> None:
    """Two that append, and one that only reads, each with its own open files."""
    path = tmp_path_factory.mktemp("law") / "events.jsonl"
    logs: list[JsonlLog | JsonlReader] = [JsonlLog(path), JsonlLog(path), JsonlReader(path)]
    model: list[bytes] = []
    for step, which, number in steps:
        log = logs[which]
        if step == "read":
            assert await read_all(log, number, number + 7) == model[number : number + 7]
        elif step == "reopen":
            await log.close()
            logs[which] = type(log)(path)
        elif isinstance(log, JsonlLog):
            if step == "append":
                model += await append(log, number)
            else:
                await close_segments(log, number, 5)
        assert [one.position for one in logs] == 3 * [len(model)]
    for log in logs:
        assert await read_all(log) == model
        await log.close()
    assert whole(path) == file_bytes(model)
    with open_stream(path) as (stream, size):
        assert (stream.read(), size) == (file_bytes(model), len(file_bytes(model)))
    assert verify(path, vocabulary=ITEMS, processes=1, segment_bytes=3_000).ok


@pytest.mark.parametrize("segment_bytes", [1, 700, 3_000, 20_000])
async def test_any_range_is_read_in_one_piece_or_many(path: Path, segment_bytes: int) -> None:
    lines = await closed_log(path, 60, min(segment_bytes, 3_000))
    async with open_file_log(path) as log, open_reader(path) as reader:
        for after in range(0, 60, 7):
            for upto in (after + 1, after + 9, 60):
                assert await read_all(log, after, upto) == lines[after:upto]
                assert await read_all(reader, after, upto) == lines[after:upto]
        await check_chain(reader)
    content = file_bytes(lines)
    with open_stream(path) as (stream, _):
        for at in range(0, len(content), 611):
            stream.seek(at)
            assert stream.read(segment_bytes) == content[at : at + segment_bytes]


async def test_a_segment_ends_with_a_tile_and_a_line_stays_open(path: Path) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 3 * TILE)
        assert await close_segments(log, 1, 5)
        assert not await close_segments(log, 1, 5)
    assert [one.name for one in closed_segments(path)] == [
        f"{1:016}-{TILE:016}.jsonl.zst",
        f"{TILE + 1:016}-{2 * TILE:016}.jsonl.zst",
    ]
    assert path.read_bytes() == file_bytes(lines[2 * TILE :])


async def test_a_log_below_the_size_stays_one_file(path: Path) -> None:
    async with open_file_log(path) as log:
        lines = await append(log, 40)
        size = path.stat().st_size
        assert not await close_segments(log, size, 5)
        assert not await close_segments(log, size + 1, 5)
    assert path.read_bytes() == file_bytes(lines)
    assert not closed_segments(path)


async def test_a_long_log_of_today_is_closed_in_several_segments(path: Path) -> None:
    lines = await closed_log(path, 200, 5_000)
    sizes = [len(decompress(one)) for one in closed_segments(path)]
    assert len(sizes) > 5
    assert all(5_000 <= size < 5_000 + 300 * TILE for size in sizes)
    assert path.stat().st_size < 5_000 + 300 * TILE
    assert whole(path) == file_bytes(lines)


async def test_files_have_the_mode_of_the_log(path: Path) -> None:
    async with open_file_log(path) as log:
        await append(log, 30)
        path.chmod(0o640)
        assert await close_segments(log, 1, 5)
    modes = {one.stat().st_mode & 0o777 for one in (path, *closed_segments(path))}
    assert modes == {0o640}
    assert segments_path(path).stat().st_mode & 0o777 == 0o750


async def test_a_log_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path, target = tmp_path / "events.jsonl", tmp_path / "elsewhere" / "log"
    target.touch()
    path.symlink_to(target)
    async with open_file_log(path) as log:
        lines = await append(log, 30)
        assert await close_segments(log, 1, 5)
        lines += await append(log, 3)
        assert await read_all(log) == lines
    assert path.is_symlink()
    assert path.resolve() == target


# Other processes


async def test_a_read_that_began_before_a_closing_ends_with_its_lines(path: Path) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        lines = await append(log, 400, size=2_000)
        reading = other.read()
        read = list(await anext(reading))
        assert await close_segments(log, 1, 5)
        await append(log, 3)
        assert len(await read_all(other)) == 403
        async for run in reading:
            read += run
        assert read == lines


async def test_a_process_that_follows_syncs_the_name_before_it_appends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that closed may have died right after it renamed the file."""
    async with open_file_log(path) as log, open_file_log(path) as other:
        await append(log, 30)
        assert await close_segments(log, 1, 5)
        synced: list[Path] = []
        monkeypatch.setattr("events.log.file.log.sync_directory", synced.append)
        assert len(await read_all(other)) == 30
        await append(other)
        assert synced == [path.parent]
        await append(other)
        assert synced == [path.parent]


async def test_closing_beside_other_processes_that_append_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # The other processes have tiles of the usual size.
    async with open_file_log(path) as log:
        await append(log, 8)
        processes = [start("append", path) for _ in range(2)]
        count = 0
        while any(process.poll() is None for process in processes):
            count += await close_segments(log, 40_000, 30)
            await asyncio.sleep(0)
        assert [process.returncode for process in processes] == [0, 0]
        for process in processes:
            process.communicate()
        lines = await read_all(log)
    assert count > 1
    assert len(lines) == 8 + 2 * BATCHES * BATCH
    assert whole(path) == file_bytes(lines)
    assert verify(path, vocabulary=ITEMS, processes=1).ok


async def test_only_one_process_closes(path: Path) -> None:
    async with open_file_log(path) as log, open_file_log(path) as other:
        await append(log, 200)
        done = await asyncio.gather(*(close_segments(one, 1, 5) for one in (log, other)))
        assert sorted(done) == [False, True]


async def replace_by_another(path: Path) -> None:
    """Put another log in place of the open file; it begins at the same line, or a later one."""
    lines, _ = some_lines(100, size=50)
    path.rename(path.with_name("moved"))
    path.write_bytes(file_bytes(lines[16:]))


@pytest.mark.parametrize("is_control", [False, True])
async def test_a_replaced_file_is_not_taken_for_a_closing(path: Path, *, is_control: bool) -> None:
    """Control: without the comparison with the published head, it would be."""
    async with open_file_log(path) as log, open_file_log(path) as other:
        await append(log, 17)
        assert await close_segments(other, 1, 5)
        await replace_by_another(path)
        accept = mock.patch.object(SegmentedFile, "has", return_value=True)
        if is_control:
            with accept:
                assert log._has_followed_closing("")
            return
        with pytest.raises(LogFenced):
            await append(log)


# What other programs and versions see


async def test_an_older_version_refuses_a_log_with_closed_segments(path: Path) -> None:
    """It compares the size of the file with the mark, and finds events missing."""
    await closed_log(path)
    assert path.stat().st_size < read_commit_point(mark_of(path)).offset
    assert not path.read_bytes().startswith(b'{"specversion":"1.0","id":"1",')


async def test_a_whole_file_of_an_older_version_is_made_by_concatenation(path: Path) -> None:
    lines = await closed_log(path)
    content = whole(path)
    for segment in closed_segments(path):
        segment.unlink()
    path.write_bytes(content)
    async with open_file_log(path) as log:
        lines += await append(log, 3)
        assert await read_all(log) == lines


async def test_a_copy_is_one_file_and_goes_on_with_a_part_of_it(path: Path, tmp_path: Path) -> None:
    lines = await closed_log(path)
    target = tmp_path / "copy.jsonl"
    for upto in (5, 20, len(lines)):
        async with open_reader(path) as source, open_file_log(target) as copied:
            await copy(source, copied, upto, timeout=1)
    assert target.read_bytes() == file_bytes(lines)


@pytest.mark.parametrize("published", [0, 3, 9, 29])
async def test_a_mark_that_is_lost_or_behind_is_made_again(path: Path, published: int) -> None:
    """It may name a line in a closed segment; the segments stay as they are."""
    lines = await closed_log(path)
    mark_of(path).unlink()
    if published:
        head = Head(published, stated_hash(lines[published - 1]))
        publish(path, lines[:published], head)
    async with open_file_log(path) as log, log.exclusive(1) as appender:
        assert appender.head.position == len(lines)
    async with open_reader(path) as reader:
        assert await read_all(reader) == lines
    assert not (path.parent / "quarantine").exists()


async def test_a_torn_tail_after_a_closing_is_cut_off(path: Path) -> None:
    lines = await closed_log(path)
    with path.open("ab") as file:
        file.write(b'{"specversion":"1.0","id":"31","sou')
        os.fsync(file.fileno())
    async with open_file_log(path) as log:
        lines += await append(log, 2)
        assert await read_all(log) == lines
    assert len(list((path.parent / "quarantine").glob("*"))) == 1
