"""An archive has the lines of the log, however often it was continued."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.archive import reader
from events.archive.ahead import BUNDLES_AHEAD
from events.archive.edge import read_checkpoint
from events.archive.objects import CHECKPOINT
from events.archive.reader import ArchivedLog
from events.archive.writer import store_checkpoint
from events.errors import ConfigurationError, DivergedLog, LogUnavailable, LogUnreachable
from events.log.port import Head
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.tiles import entries_path
from tests.events.archive.stored import (
    MemoryObjects,
    archive,
    findings_of,
    lines_in,
    log_of,
    note_of,
    small_lines,
)
from tests.events.log_helpers import in_event_loop

EDGES = [1, 2, 255, 256, 257, 511, 512, 513, 767, 768, 800]


def without_old_partials(content: dict[str, bytes], size: int) -> dict[str, bytes]:
    """The objects without partial tiles that a wider partial one has replaced."""
    found = {}
    for name, data in content.items():
        tile, is_partial, width = name.rpartition(".p/")
        if is_partial:
            assert tile not in content, f"{name} is left, though {tile} is complete"
            widths = [
                int(one.rpartition("/")[2]) for one in content if one.startswith(f"{tile}.p/")
            ]
            if int(width) < max(widths):
                continue
        found[name] = data
    return found


@given(
    st.lists(st.sampled_from(EDGES) | st.integers(1, 900), min_size=1, max_size=6, unique=True),
    st.integers(0, 1000),
)
@in_event_loop
async def test_a_continued_archive_is_the_one_made_at_once(sizes: list[int], seed: int) -> None:
    lines = small_lines(max(sizes), seed)
    continued, once = MemoryObjects(), MemoryObjects()
    for size in sorted(sizes):
        await archive(lines[:size], continued)
        assert await findings_of(continued) == []
    await archive(lines, once)
    assert without_old_partials(continued.content, len(lines)) == once.content
    assert await lines_in(continued) == lines
    chance = Random(seed)
    for _ in range(5):
        after, upto = sorted(chance.choices(range(len(lines) + 1), k=2))
        assert await lines_in(continued, after, upto) == lines[after:upto]


@pytest.mark.anyio
async def test_a_third_level_is_continued() -> None:
    lines = small_lines(65_800)
    continued, once = MemoryObjects(), MemoryObjects()
    for size in (65_535, 65_536, 65_537, 65_800):
        await archive(lines[:size], continued)
        assert await lines_in(continued, size - 3) == lines[size - 3 : size]
    await archive(lines, once)
    assert without_old_partials(continued.content, len(lines)) == once.content
    assert "tile/2/000.p/1" in once.content
    assert await lines_in(once) == lines
    assert await findings_of(once) == []


@pytest.mark.anyio
async def test_only_what_is_new_is_written() -> None:
    lines, objects = small_lines(1_100), MemoryObjects()
    await archive(lines[:1_000], objects)
    before = dict(objects.content)
    written = await archive(lines, objects)
    names = {name for name, content in objects.content.items() if before.get(name) != content}
    assert names == {
        CHECKPOINT,
        *("tile/entries/003", "tile/entries/004.p/76", "tile/0/003", "tile/0/004.p/76"),
        "tile/1/000.p/4",
    }
    assert written.objects == len(names)
    assert written.bytes == sum(len(objects.content[name]) for name in names)
    assert "tile/entries/003.p/232" not in objects.content
    assert "tile/0/003.p/232" not in objects.content


@pytest.mark.anyio
async def test_lines_that_are_not_those_of_the_checkpoint_are_not_archived() -> None:
    lines, objects = small_lines(300), MemoryObjects()
    await archive(lines, objects)
    checkpoint = objects.content[CHECKPOINT]
    other = [*lines[:-1], b"another", *small_lines(50)]
    with pytest.raises(DivergedLog):
        await archive(other, objects, note_of([*lines, *small_lines(50)]))
    assert objects.content[CHECKPOINT] == checkpoint
    assert await lines_in(objects) == lines


class NothingIsDeleted(MemoryObjects):
    """The right to delete is missing."""

    async def delete(self, names: Collection[str]) -> None:
        raise LogUnreachable("not permitted")


@pytest.mark.anyio
async def test_an_archive_grows_without_the_right_to_delete() -> None:
    lines, objects = small_lines(600), NothingIsDeleted()
    await archive(lines[:300], objects)
    await archive(lines, objects)
    assert "tile/0/001.p/44" in objects.content
    assert await lines_in(objects) == lines
    assert await findings_of(objects) == []


@pytest.mark.anyio
async def test_an_archive_is_rewritten() -> None:
    lines, objects = small_lines(600), MemoryObjects()
    await archive(lines, objects)
    whole = dict(objects.content)
    for name in whole.keys() - {CHECKPOINT}:
        objects.content[name] = b"rubbish"
    await archive(lines, objects, rewrite=True)
    assert objects.content == whole


# Reading


@pytest.mark.anyio
async def test_one_line_takes_one_bundle_which_is_kept() -> None:
    lines, objects = small_lines(900), MemoryObjects()
    await archive(lines, objects)
    log = await ArchivedLog.open(objects)
    objects.gets.clear()
    for position in (300, 300, 310, 512):
        assert [run async for run in log.read(position - 1, position)] == [[lines[position - 1]]]
    assert objects.gets == ["tile/entries/001"]


@pytest.mark.anyio
async def test_bundles_are_fetched_ahead_but_only_a_few() -> None:
    lines, objects = small_lines(6_000), MemoryObjects()
    await archive(lines, objects)
    log = await ArchivedLog.open(objects)
    objects.gets.clear()
    objects.most_running = 0
    runs = log.read()
    assert await anext(runs) == lines[:256]
    assert 1 < objects.most_running <= BUNDLES_AHEAD
    assert len(objects.gets) <= BUNDLES_AHEAD
    await runs.aclose()  # type: ignore[attr-defined]
    assert objects.running == 0


@pytest.mark.anyio
async def test_an_open_archive_stays_readable_while_it_grows() -> None:
    lines, objects = small_lines(900), MemoryObjects()
    await archive(lines[:300], objects)
    log = await ArchivedLog.open(objects)
    await archive(lines, objects)
    assert entries_path(1, 44) not in objects.content
    assert log.position == 300
    assert [line async for run in log.read() for line in run] == lines[:300]


@pytest.mark.anyio
async def test_an_archive_refuses_appends() -> None:
    lines, objects = small_lines(3), MemoryObjects()
    lines.append(b'{"id":"4","hash":"%b"}' % (b"ab" * 32))
    await archive(lines, objects)
    log = await ArchivedLog.open(objects)
    async with log.exclusive(1) as appender:
        assert appender.head == Head(4, b"\xab" * 32)
        appender.keep_reserve()
        with pytest.raises(LogUnavailable, match="is an archive, which is read-only"):
            await appender.append([b"line"], Head(5, bytes(32)))
    assert not await log.release_reserve()
    assert log.lost_for == 0


@pytest.mark.anyio
async def test_an_archive_that_is_not_there_or_not_reachable_is_reported() -> None:
    objects = MemoryObjects()
    with pytest.raises(ConfigurationError, match="no archive at memory"):
        await ArchivedLog.open(objects)
    await archive(small_lines(600), objects)
    log = await ArchivedLog.open(objects)
    objects.is_unreachable = True
    with pytest.raises(LogUnreachable):
        [run async for run in log.read()]


@pytest.mark.anyio
async def test_a_log_in_memory_and_its_archive_are_read_alike() -> None:
    lines, objects = small_lines(700), MemoryObjects()
    await archive(lines, objects)
    one, other = log_of(lines), await ArchivedLog.open(objects)
    for after, upto in ((0, None), (0, 0), (5, 3), (699, 700), (700, 701), (255, 257), (0, 9_999)):
        assert [line async for run in one.read(after, upto) for line in run] == [
            line async for run in other.read(after, upto) for line in run
        ]


@pytest.mark.anyio
async def test_small_caches_change_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MAX_CACHED_BYTES", 2_000)
    monkeypatch.setattr(reader, "_MAX_CACHED_TILES", 1)
    lines, objects, chance = small_lines(66_200), MemoryObjects(), Random(7)
    await archive(lines, objects)
    log = await ArchivedLog.open(objects)
    for _ in range(60):
        at = chance.randrange(len(lines))
        assert [run async for run in log.read(at, at + 1)] == [[lines[at]]]
        assert len(log._bundles) <= 2
        assert len(log._tiles) <= 2
    assert len(objects.gets) > 60


@pytest.mark.anyio
async def test_a_checkpoint_is_replaced_by_one_with_more_signatures_only() -> None:
    lines, objects = small_lines(300), MemoryObjects()
    await archive(lines, objects)
    note = note_of(lines)
    one, two = (Signer.from_seed(bytes([number] * 32), "witness/") for number in (1, 2))
    cosigned = Note(note.text, [*note.signatures, *one.sign(note.text).signatures])
    newer = Note(note.text, [*note.signatures, *two.sign(note.text).signatures])
    other = one.sign(str(TreeHead("another", 300, TreeHead.parse(note).root)))

    async def root_at(_: int) -> bytes:
        return TreeHead.parse(note).root

    for stored, kept in ((note, note), (cosigned, cosigned), (note, cosigned), (newer, newer)):
        written = await store_checkpoint(objects, stored, root_at)
        assert written.objects == (stored == kept != note)
        assert await read_checkpoint(objects) == kept
    await store_checkpoint(objects, other, root_at)
    assert await read_checkpoint(objects) == newer
