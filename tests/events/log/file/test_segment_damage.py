"""A closed segment that is missing or damaged is reported with its name, and never passed over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from random import Random

import pytest
import zstandard

from eventapi.testing.items import ITEMS
from events.errors import DamagedLog, MissingEvents
from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments, segments_path
from events.log.file.reader import JsonlReader
from events.log.file.segments import SegmentedFile
from events.verification.report import Report
from events.verification.verify import verify
from tests.events.log.file.test_segments import closed_log, decompress, open_reader
from tests.events.log_helpers import (
    TILE,
    append,
    check_chain,
    file_bytes,
    mark_of,
    open_file_log,
    overwrite,
    publish,
    quarantined_tails,
    read_all,
    recover,
    some_lines,
)

pytestmark = pytest.mark.usefixtures("small_tiles")


def report_on(path: Path) -> Report:
    """Verify the log; the scan of the whole and the check line by line report the same."""
    scanned, checked = (
        verify(path, vocabulary=ITEMS, processes=1, segment_bytes=size) for size in (3_000, 0)
    )
    assert scanned == checked
    return checked


async def read_with_new_reader(path: Path) -> list[bytes]:
    async with open_reader(path) as reader:
        await check_chain(reader)
        return await read_all(reader)


def cut(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:-1])


def lengthen(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes() + b"x")


def empty(segment: Path) -> None:
    segment.write_bytes(b"")


def recompress(segment: Path) -> None:
    """Replace it by what another program makes of the same lines."""
    content = decompress(segment)
    segment.write_bytes(zstandard.ZstdCompressor().compress(content))


DAMAGES = [Path.unlink, cut, lengthen, empty, recompress]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [0, 1, -1])
async def test_a_missing_or_wrong_file_is_named(
    path: Path, damage: Callable[[Path], None], number: int
) -> None:
    lines = await closed_log(path)
    before = path.read_bytes()
    segment = closed_segments(path)[number]
    damage(segment)
    for opening in (JsonlLog, JsonlReader):
        with pytest.raises(MissingEvents if damage is Path.unlink else DamagedLog) as refused:
            opening(path)
        assert str(segment) in str(refused.value)
        assert str(segment) in refused.value.message.next
    report = report_on(path)
    assert not report.ok
    first = int(segment.name[:16])
    assert report.good_up_to == first - 1
    assert any(str(segment) in one.detail for one in report.findings)
    # The line after the gap is reported, too.
    assert report.lines >= len(lines) - (int(segment.name[17:33]) - first + 1) - 1
    assert path.read_bytes() == before


async def test_a_file_without_its_segments_is_refused_with_and_without_its_mark(
    path: Path,
) -> None:
    """As an operator's copy of only ``events.jsonl``."""
    await closed_log(path)
    last = closed_segments(path)[-1]
    for segment in closed_segments(path):
        segment.unlink()
    segments_path(path).rmdir()
    expected = f"{1:016}-{last.name[17:]}"
    for _ in range(2):
        for opening in (JsonlLog, JsonlReader):
            with pytest.raises(MissingEvents) as refused:
                opening(path)
            assert expected in str(refused.value)
        assert any(expected in one.detail for one in report_on(path).findings)
        mark_of(path).unlink(missing_ok=True)


async def test_every_flipped_bit_is_found_or_changes_no_line(path: Path) -> None:
    lines = await closed_log(path)
    random, found = Random(7), 0
    for segment in closed_segments(path):
        content = segment.read_bytes()
        places = [*range(16), *range(len(content) - 60, len(content))]
        for at in (*places, *random.sample(range(len(content)), 40)):
            overwrite(segment, at, bytes([content[at] ^ 1 << random.randrange(8)]))
            try:
                # Some bits of the format have no meaning for the lines.
                assert await read_with_new_reader(path) == lines
                assert report_on(path).ok
            except DamagedLog as error:
                found += 1
                assert str(segment) in str(error)  # noqa: PT017 - either is right
                report = report_on(path)
                assert not report.ok
                assert any(str(segment) in one.detail for one in report.findings)
            segment.write_bytes(content)
    assert found > 200
    assert await read_with_new_reader(path) == lines


async def test_control_a_flipped_bit_is_not_found_without_the_checks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of every byte after a segment depends on the table of its frames."""
    lines = await closed_log(path)
    segment = closed_segments(path)[0]
    content = segment.read_bytes()
    at = len(content) - 9 - 4  # The uncompressed size of the last frame.
    overwrite(segment, at, bytes([content[at] ^ 4]))
    with pytest.raises(DamagedLog):
        JsonlReader(path)
    monkeypatch.setattr(closed, "_CHECK", _AnyCheck(closed._CHECK.size))
    async with open_reader(path) as reader:
        with pytest.raises(Exception):  # noqa: B017, PT011 - anything but the right lines
            assert await read_all(reader) == lines


class _AnyCheck:
    """Accepts every check of a table."""

    def __init__(self, size: int) -> None:
        self.size = size

    def pack(self, *_: int) -> object:
        class Equal:
            def __ne__(self, _: object) -> bool:
                return False

            __hash__ = None  # type: ignore[assignment]

            def __eq__(self, _: object) -> bool:
                return True

        return Equal()


async def test_a_segment_of_another_log_breaks_the_chain(path: Path, tmp_path: Path) -> None:
    await closed_log(path)
    other = tmp_path / "other" / "events.jsonl"
    async with open_file_log(other) as log:
        await append(log, 30, size=1)
        await close_segments(log, 1, 5)
    async with open_file_log(tmp_path / "third" / "events.jsonl") as log:
        await append(log, 30, size=0)
    segment = closed_segments(path)[0]
    lines = decompress(segment)
    changed = lines.replace(b"items/2", b"items/9")
    segment.unlink()
    tiles = changed.splitlines(keepends=True)
    frames = (b"".join(tiles[at : at + TILE]) for at in range(0, len(tiles), TILE))
    closed.write_segment(segment, frames, 0o600)
    with pytest.raises(DamagedLog):
        await read_with_new_reader(path)
    report = report_on(path)
    assert not report.ok
    assert report.good_up_to == 1


def put_longer_lines(segment: Path) -> None:
    """Replace a segment by an intact one with the same positions and 40 more bytes."""
    lines = decompress(segment).splitlines(keepends=True)
    lines[:TILE] = [line.replace(b"items", b"items" + 10 * b"x") for line in lines[:TILE]]
    tiles = [b"".join(lines[at : at + TILE]) for at in range(0, len(lines), TILE)]
    segment.unlink()
    closed.write_segment(segment, tiles, 0o600)


@pytest.mark.parametrize("is_control", [False, True])
async def test_nothing_is_cut_off_if_a_wrong_segment_moves_the_end_of_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, is_control: bool
) -> None:
    """Control: recovery takes the end of the last line for a torn tail."""
    await closed_log(path)
    content = path.read_bytes()
    put_longer_lines(closed_segments(path)[0])
    if is_control:
        monkeypatch.setattr(SegmentedFile, "check_place", lambda *_: None)
    async with open_file_log(path) as log:
        message = r"events\.jsonl\.segments"
        with nullcontext() if is_control else pytest.raises(DamagedLog, match=message):
            await recover(log)
    assert (path.read_bytes() == content) != is_control
    if not is_control:
        with pytest.raises(DamagedLog, match=message):
            JsonlReader(path)
        assert not quarantined_tails(path)
        assert not report_on(path).ok


async def test_an_older_open_file_is_refused_while_segments_have_later_lines(path: Path) -> None:
    """They may be the only copy of acknowledged events."""
    async with open_file_log(path) as log:
        lines = await append(log, 10)
        older = path.read_bytes()
        await append(log, 20)
        assert await close_segments(log, 2_000, 5)
    mark_of(path).unlink()
    path.write_bytes(older)
    segments = closed_segments(path)
    report = report_on(path)
    assert (report.kinds, report.good_up_to, report.ok) == ({"missing"}, 10, False)
    assert str(segments[-1]) in report.findings[0].detail
    assert report.findings[0].offset == len(older)
    for _ in range(2):
        with pytest.raises(MissingEvents) as refused:
            JsonlReader(path)
        assert str(segments[-1]) in str(refused.value)
        async with open_file_log(path) as log:
            with pytest.raises(MissingEvents) as refused:
                await recover(log)
        assert str(segments[-1]) in refused.value.message.next
    assert closed_segments(path) == segments
    assert path.read_bytes() == older
    for segment in segments:
        segment.rename(segment.with_suffix(".away"))
    async with open_file_log(path) as log:
        assert await append(log)
        assert (await read_all(log))[:10] == lines


async def test_a_damaged_segment_in_use_is_not_taken_for_one_that_the_log_does_not_reach(
    path: Path,
) -> None:
    """Its lines cannot be read, and the open file, which begins after them, has none either."""
    lines, _ = some_lines(5 * TILE)
    for first in (0, 2 * TILE):
        tiles = [file_bytes(lines[at : at + TILE]) for at in (first, first + TILE)]
        segment = closed.segment_path(segments_path(path), first + 1, first + 2 * TILE)
        segment.parent.mkdir(exist_ok=True)
        closed.write_segment(segment, tiles, 0o600)
    segment.write_bytes(segment.read_bytes()[: segment.stat().st_size // 2])
    path.write_bytes(bytes(len(file_bytes(lines[4 * TILE :]))))
    report = report_on(path)
    assert not report.ok
    assert any(str(segment) in one.detail for one in report.findings)
    assert not any("is an older copy" in one.detail for one in report.findings)


async def test_a_mark_older_than_a_segment_of_an_interrupted_closing_is_no_finding(
    path: Path,
) -> None:
    """A power cut can keep the segment, and not the mark, which is not synced with each append."""
    lines, head = some_lines(30)
    path.write_bytes(file_bytes(lines))
    published, earlier = some_lines(3)
    publish(path, published, earlier)
    left = closed.segment_path(segments_path(path), 1, 2 * TILE)
    left.parent.mkdir()
    closed.write_segment(left, [file_bytes(lines[at : at + TILE]) for at in (0, TILE)], 0o600)
    report = report_on(path)
    assert (report.kinds, report.ok) == ({"torn-tail"}, True)
    path.write_bytes(file_bytes(lines[:TILE]))
    assert report_on(path).kinds == {"torn-tail", "missing"}
    path.write_bytes(file_bytes(lines))
    async with open_file_log(path) as log:
        assert await recover(log) == head


@pytest.mark.parametrize("has_mark", [False, True])
async def test_a_file_that_begins_with_another_line_is_refused(
    path: Path, *, has_mark: bool
) -> None:
    lines, head = some_lines(40)
    for first in range(2, 2 * TILE + 2):
        path.write_bytes(file_bytes(lines[first - 1 :]))
        if has_mark:
            publish(path, lines[first - 1 :], head)
        at_tile = first % TILE == 1
        for opening in (JsonlLog, JsonlReader):
            with pytest.raises(DamagedLog) as refused:
                opening(path)
            assert isinstance(refused.value, MissingEvents) == at_tile
            assert str(path) in str(refused.value)
        assert not report_on(path).ok
        assert mark_of(path).exists() == has_mark


async def test_a_damaged_first_line_of_the_open_file_is_named(path: Path) -> None:
    await closed_log(path)
    content = path.read_bytes()
    for at in (0, 10, 28):
        overwrite(path, at, b"?")
        for opening in (JsonlLog, JsonlReader):
            with pytest.raises(DamagedLog) as refused:
                opening(path)
            assert str(path) in str(refused.value)
        assert not report_on(path).ok
        path.write_bytes(content)


async def test_an_empty_or_missing_open_file_beside_segments_is_refused(path: Path) -> None:
    await closed_log(path)
    mark_of(path).unlink()
    path.write_bytes(b"")
    with pytest.raises(DamagedLog, match="is empty"):
        JsonlLog(path)
    path.unlink()
    with pytest.raises(MissingEvents):
        JsonlLog(path)
    assert not path.exists()


async def test_lines_that_do_not_chain_are_never_closed(path: Path) -> None:
    async with open_file_log(path) as log:
        await append(log, 30)
        at = path.read_bytes().index(b"items/9")
        overwrite(path, at, b"items/8")
        content = path.read_bytes()
        with pytest.raises(DamagedLog):
            await close_segments(log, 1, 5)
        assert path.read_bytes() == content
        # Segments of the lines before it may be complete; no temporary file stays.
        assert all(int(one.name[17:33]) < 9 for one in closed_segments(path))
        assert not list(path.parent.rglob("*.tmp"))
        await append(log)
