"""The recovery table of the design, row by row."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS, ItemDeleted
from events.codec import decode, encode
from events.errors import ConfigurationError, DamagedLog, MissingEvents
from events.log.file import recovery
from events.log.file.commit_index import CommitPoint, read_commit_point
from events.log.file.log import JsonlLog
from events.log.file.paths import commit_index_path
from events.log.file.recovery import recover_tail
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.verification.verify import verify
from tests.events.log_helpers import (
    EMPTY,
    SOURCE,
    TIME,
    append,
    file_bytes,
    open_file_log,
    publish,
    quarantined_tails,
    read_all,
    recover,
    set_polled_position,
    some_lines,
)

LINES, HEAD = some_lines(30)
SIZE = len(file_bytes(LINES))


def _heads(lines: Sequence[bytes]) -> list[Head]:
    """Return the head before the first line, after it, after the second, and so on."""
    return [EMPTY, *(Head(r.position, r.hash) for r in decode(lines, Keyring(), ITEMS))]


HEADS = _heads(LINES)


def _lay(path: Path, content: bytes, published: int) -> None:
    """Write a log file with that content, of which the first lines are published."""
    path.write_bytes(content)
    publish(path, LINES[:published], HEADS[published])


async def _refused(path: Path, kind: type[DamagedLog] = DamagedLog) -> DamagedLog:
    """Return the error of a refused recovery, after checking that no byte changed."""
    before = path.read_bytes(), commit_index_path(path).read_bytes()
    async with open_file_log(path) as log:
        with pytest.raises(kind) as refusal:
            await recover(log)
    assert (path.read_bytes(), commit_index_path(path).read_bytes()) == before
    assert quarantined_tails(path) == []
    return refusal.value


# Whole, chained lines past the commit index


async def test_whole_lines_past_the_commit_index_are_kept_synced_and_published(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lay(path, file_bytes(LINES), published=20)
    at_sync: list[CommitPoint] = []
    monkeypatch.setattr(
        os, "fdatasync", lambda _: at_sync.append(read_commit_point(commit_index_path(path)))
    )
    async with open_file_log(path) as log:
        assert await read_all(log) == LINES[:20]
        assert await recover(log) == HEAD
        assert (await read_all(log), log.position) == (LINES, 30)
    assert [published.head.position for published in at_sync] == [20]
    assert read_commit_point(commit_index_path(path)) == CommitPoint(SIZE, HEAD)
    assert quarantined_tails(path) == []


async def test_a_missing_commit_index_is_recreated_from_the_whole_log(path: Path) -> None:
    path.write_bytes(file_bytes(LINES))
    async with open_file_log(path) as log:
        assert await recover(log) == HEAD
    assert read_commit_point(commit_index_path(path)) == CommitPoint(SIZE, HEAD)


async def test_a_polled_position_behind_the_newest_slot_is_corrected(path: Path) -> None:
    _lay(path, file_bytes(LINES), published=30)
    async with open_file_log(path) as log:
        set_polled_position(commit_index_path(path), 20)
        assert await recover(log) == HEAD
        assert log.position == 30


# Batches that are kept whole or not at all


@pytest.mark.parametrize("whole", range(6))
async def test_a_batch_with_remaining_is_kept_whole_or_not_at_all(path: Path, whole: int) -> None:
    group, head = some_lines(5, HEADS[3], remaining=True)
    content = file_bytes(LINES[:3]) + file_bytes(group[:whole])
    _lay(path, content + group[min(whole, 4)][:40], published=2)
    async with open_file_log(path) as log:
        assert await recover(log) == (head if whole == 5 else HEADS[3])
    kept = LINES[:3] + (group if whole == 5 else [])
    assert path.read_bytes() == file_bytes(kept)


async def test_control_without_remaining_a_part_of_a_batch_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, _ = some_lines(5, HEADS[3], remaining=True)
    real = recovery._extend
    monkeypatch.setattr(recovery, "_extend", lambda line, head: (real(line, head)[0], 0))
    _lay(path, file_bytes(LINES[:3]) + file_bytes(group[:2]), published=2)
    async with open_file_log(path) as log:
        assert (await recover(log)).position == 5


# A torn tail


@pytest.mark.parametrize(
    "torn",
    [
        LINES[25][:-1],
        LINES[25],
        b"{",
        b"\n",
        b"\n\n\n",
        b"\0" * 5000,
        LINES[25][:100] + b"\0" * 4096,
        b"\0" * 4096 + LINES[25][-100:] + b"\n",
        LINES[25][:100] + b"\0" * 100 + b"\n",
    ],
    ids=[
        *("no brace", "no newline", "one byte", "a newline", "newlines"),
        *("NUL bytes", "half and NUL bytes", "NUL bytes and an end", "a hole"),
    ],
)
async def test_a_torn_tail_is_quarantined_cut_off_and_reported(
    path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    _lay(path, file_bytes(LINES[:25]) + torn, published=20)
    async with open_file_log(path) as log:
        assert await recover(log) == HEADS[25]
        (cut,) = (path.parent / "quarantine").iterdir()
        assert str(cut) in caplog.text
        assert f"{len(torn):,} bytes" in caplog.text
        more = await append(log, 2)
    assert cut.read_bytes() == torn
    assert path.read_bytes() == file_bytes([*LINES[:25], *more])
    assert verify(path, vocabulary=ITEMS).ok


async def test_only_the_owner_can_read_the_quarantine(path: Path) -> None:
    _lay(path, b"torn", published=0)
    async with open_file_log(path) as log:
        await recover(log)
    assert (path.parent / "quarantine").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("published", [0, 10, 29])
def test_a_log_cut_off_at_any_byte_past_the_commit_index_keeps_its_whole_lines(
    published: int,
) -> None:
    content, start = file_bytes(LINES), len(file_bytes(LINES[:published]))
    for size in range(start, SIZE + 1):
        tail = recover_tail(io.BytesIO(content[start:size]), start, HEADS[published])
        whole = content[:size].count(b"\n")
        assert tail.head == HEADS[whole]
        assert tail.offset == len(file_bytes(LINES[:whole]))


@pytest.mark.parametrize("published", [0, 10, 29])
async def test_a_file_of_any_size_is_cut_to_its_whole_lines_or_refused(
    path: Path, published: int
) -> None:
    content, start = file_bytes(LINES), len(file_bytes(LINES[:published]))
    ends = [len(file_bytes(LINES[:count])) for count in range(0, 31, 5)]
    for size in sorted({max(end + step, 0) for end in ends for step in (-1, 0, 1)} - {SIZE + 1}):
        _lay(path, content[:size], published)
        if size < start:
            assert (await _refused(path, MissingEvents)).offset == size
            continue
        async with open_file_log(path) as log:
            whole = content[:size].count(b"\n")
            assert await recover(log) == HEADS[whole]
            assert path.read_bytes() == file_bytes(LINES[:whole])
        for cut in (path.parent / "quarantine").glob("*"):
            assert content[:size].endswith(cut.read_bytes())
            cut.unlink()


async def test_control_a_cut_without_quarantine_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.log.file.log.write_durably", lambda *_: None)
    _lay(path, file_bytes(LINES) + b"torn", published=30)
    async with open_file_log(path) as log:
        await recover(log)
    assert quarantined_tails(path) == []


# Damage


@pytest.mark.parametrize("damaged", [20, 24, 28])
async def test_a_whole_line_after_a_damaged_one_is_refused(path: Path, damaged: int) -> None:
    content = bytearray(file_bytes(LINES))
    offset = len(file_bytes(LINES[:damaged]))
    content[offset + 30] ^= 1
    _lay(path, bytes(content), published=20)
    refusal = await _refused(path)
    assert (refusal.position, refusal.offset) == (damaged + 1, offset)


async def test_a_line_missing_past_the_commit_index_is_refused(path: Path) -> None:
    _lay(path, file_bytes([*LINES[:22], *LINES[23:]]), published=20)
    refusal = await _refused(path)
    assert (refusal.position, refusal.offset) == (23, len(file_bytes(LINES[:22])))


async def test_a_whole_line_of_another_batch_after_nul_bytes_is_refused(path: Path) -> None:
    torn = LINES[22][:50] + b"\n" + b"\0" * 300
    _lay(path, file_bytes(LINES[:22]) + torn + file_bytes(LINES[23:24]), published=20)
    refusal = await _refused(path)
    assert (refusal.position, refusal.offset) == (23, len(file_bytes(LINES[:22])))


def _batch(count: int) -> list[bytes]:
    """Make lines of one batch that follow 22 others."""
    lines: list[bytes] = []
    head = HEADS[22]
    for number in range(23, 23 + count):
        record = Record(number, SOURCE, f"items/{number}", TIME, "users/1", ItemDeleted())
        line, digest = encode(record, head.hash, Keyring(), bytes(12), behind=22 if lines else None)
        lines.append(line)
        head = Head(number, digest)
    return lines


@pytest.mark.parametrize("first", [0, 1, 3])
async def test_a_batch_with_a_hole_is_cut_off_because_it_was_not_acknowledged(
    path: Path, first: int
) -> None:
    """The disk wrote its end before its beginning, and the power was cut in between."""
    batch = _batch(6)
    content = file_bytes(LINES[:22])
    start = len(content + file_bytes(batch[:first])) + 20
    hole = bytearray(content + file_bytes(batch))
    hole[start : start + 300] = bytes(300)
    _lay(path, bytes(hole), published=20)
    async with open_file_log(path) as log:
        assert (await recover(log)).position == 22 + first
    assert path.read_bytes() == file_bytes(LINES[:22] + batch[:first])


@pytest.mark.parametrize("where", [21, 22, 24])
async def test_a_batch_with_a_wrong_line_and_no_hole_is_refused(path: Path, where: int) -> None:
    lines = LINES[:22] + _batch(6)
    content = bytearray(file_bytes(lines))
    content[len(file_bytes(lines[:where])) + 30] ^= 1
    _lay(path, bytes(content), published=20)
    assert (await _refused(path)).position == where + 1


async def test_a_hole_in_an_earlier_batch_is_refused(path: Path) -> None:
    """A later batch is only written after the earlier one was synced."""
    content = bytearray(file_bytes(LINES[:22] + _batch(6)))
    start = len(file_bytes(LINES[:21])) + 30
    content[start : start + 10] = bytes(10)
    _lay(path, bytes(content), published=20)
    assert (await _refused(path)).position == 22


async def test_a_chained_line_at_another_position_is_not_kept(path: Path) -> None:
    strays, _ = some_lines(1, Head(24, HEADS[20].hash))
    _lay(path, file_bytes([*LINES[:20], *strays]), published=20)
    async with open_file_log(path) as log:
        assert await recover(log) == HEADS[20]
    assert quarantined_tails(path) == [file_bytes(strays)]


async def test_a_log_that_does_not_match_its_commit_index_is_refused(path: Path) -> None:
    """For example an older copy of the file, whose tail is of another history."""
    strangers, _ = some_lines(30, Head(0, b"s" * 32))
    _lay(path, file_bytes(LINES[:20] + strangers[20:]), published=20)
    await _refused(path)


async def test_any_flipped_bit_below_the_commit_index_is_refused_by_readers_and_not_changed(
    path: Path,
) -> None:
    """Also a bit of a newline, which without a commit index looks like a torn tail."""
    content = file_bytes(LINES[:3])
    for byte in [*range(0, len(content), 7), len(content) - 1]:
        damaged = bytearray(content)
        damaged[byte] ^= 1 << byte % 8
        _lay(path, bytes(damaged), published=3)
        async with open_file_log(path) as log:
            with pytest.raises(DamagedLog) as refusal:
                decode(await read_all(log), Keyring(), ITEMS)
            assert refusal.value.offset == len(file_bytes(LINES[: content[:byte].count(b"\n")]))
            assert await recover(log) == HEADS[3]
        assert path.read_bytes() == bytes(damaged)
    assert quarantined_tails(path) == []


async def test_control_without_a_commit_index_a_flipped_newline_costs_the_last_line(
    path: Path,
) -> None:
    content = bytearray(file_bytes(LINES))
    content[-1] ^= 1
    path.write_bytes(content)
    async with open_file_log(path) as log:
        assert await recover(log) == HEADS[29]


# Shorter than the commit index


@pytest.mark.parametrize("size", [0, 1, SIZE // 2, SIZE - 1])
async def test_a_file_shorter_than_its_commit_index_is_refused(path: Path, size: int) -> None:
    _lay(path, file_bytes(LINES)[:size], published=30)
    assert (await _refused(path, MissingEvents)).offset == size
    async with open_file_log(path) as log:
        with pytest.raises(MissingEvents):
            await read_all(log)


async def test_a_missing_file_with_a_commit_index_is_refused(path: Path) -> None:
    publish(path, LINES, HEAD)
    with pytest.raises(MissingEvents, match=f"{HEAD.position} events were acknowledged"):
        JsonlLog(path)
    assert [file.name for file in path.parent.iterdir()] == ["events.jsonl.mark"]


async def test_a_log_that_may_not_be_begun_is_not_created(path: Path) -> None:
    for place in (path, path.parent / "nowhere" / "events.jsonl"):
        with pytest.raises(ConfigurationError, match="there is no log at"):
            JsonlLog(place, begin=False)
    assert list(path.parent.iterdir()) == []


# A damaged commit index


async def test_no_flipped_bit_of_the_commit_index_costs_a_published_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.log.file.commit_index._READ_ATTEMPTS", 2)
    _lay(path, file_bytes(LINES[:20]), published=20)
    publish(path, LINES, HEAD)
    path.write_bytes(file_bytes(LINES))
    whole = commit_index_path(path).read_bytes()
    refused = 0
    for byte in [*range(40), *range(64, 116), *range(192, 244)]:
        page = bytearray(whole)
        page[byte] ^= 1 << byte % 8
        commit_index_path(path).write_bytes(page)
        try:
            async with open_file_log(path) as log:
                assert await recover(log) == HEAD
                assert await read_all(log) == LINES
        except DamagedLog:
            refused += 1
        assert path.read_bytes() == file_bytes(LINES)
    assert refused > 60
    assert quarantined_tails(path) == []
