"""`log verify`: each kind of finding with its place, and a log that is only read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS
from events.codec import MAX_LINE_BYTES, decode
from events.log.file.commit_index import CommitPoint, read_commit_point
from events.log.port import Head
from events.record import GENESIS
from events.sealing import Keyring
from events.verification import verify as verify_module
from events.verification.diagnosis import (
    Judgement,
    Lost,
    Mode,
    Seals,
    judge_line,
)
from events.verification.report import MAX_FINDINGS, Finding, Kind, Report
from events.verification.verify import verify
from tests.events.log_helpers import (
    EMPTY,
    append,
    file_bytes,
    mark_of,
    open_file_log,
    publish,
    read_all,
    some_lines,
)

LINES, HEAD = some_lines(12)
SIZE = len(file_bytes(LINES))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def _offset(count: int) -> int:
    """The byte offset of the line after the first ``count``."""
    return len(file_bytes(LINES[:count]))


def _places(report: Report) -> list[tuple[Kind, int, int]]:
    return [(found.kind, found.position, found.offset) for found in report.findings]


def _verify(path: Path, content: bytes) -> Report:
    path.write_bytes(content)
    return verify(path, vocabulary=ITEMS)


def _rechain(*changes: dict[str, object]) -> list[bytes]:
    """The first lines with changed members, and a valid hash chain."""
    lines, previous = [], GENESIS
    for line, change in zip(LINES, changes, strict=False):
        members = {**json.loads(line), **change}
        del members["hash"]
        body = json.dumps(members, separators=(",", ":")).encode()[:-1]
        previous = sha256(previous + body).digest()
        lines.append(body + b',"hash":"' + previous.hex().encode() + b'"}')
    return lines


def _head(count: int) -> Head:
    if count == 0:
        return EMPTY
    last = decode(LINES[:count], Keyring(), ITEMS)[-1]
    return Head(last.position, last.hash)


# Intact logs


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize("marked", [False, True])
def test_an_intact_log_is_ok(path: Path, count: int, marked: bool) -> None:
    if marked:
        publish(path, LINES[:count], _head(count))
    report = _verify(path, file_bytes(LINES[:count]))
    assert report.ok
    assert (report.lines, report.bytes, report.marked) == (count, _offset(count), marked)
    assert report.head.position == count
    assert bytes.fromhex(report.head.hash) == _head(count).hash
    assert report.findings == []


def test_progress_is_reported_up_to_the_last_byte(path: Path) -> None:
    path.write_bytes(file_bytes(LINES))
    reached: list[int] = []
    verify(path, vocabulary=ITEMS, progress=reached.append)
    assert reached == sorted(reached)
    assert reached[-1] == SIZE


def test_a_missing_file_raises(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(path, vocabulary=ITEMS)


async def test_a_log_can_be_verified_while_a_server_appends_to_it(path: Path) -> None:
    async with open_file_log(path) as log:
        for _ in range(30):
            await append(log, 3)
            assert verify(path, vocabulary=ITEMS).ok
        assert verify(path, vocabulary=ITEMS).lines == len(await read_all(log)) == 90


def test_events_published_during_verification_are_not_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the file and the mark cannot be read at the same moment."""

    def append_then_read(mark: Path) -> CommitPoint:
        path.write_bytes(file_bytes(LINES))
        publish(path, LINES, HEAD)
        return read_commit_point(mark)

    publish(path, LINES[:5], _head(5))
    monkeypatch.setattr(verify_module, "read_commit_point", append_then_read)
    report = _verify(path, file_bytes(LINES[:5]))
    assert (report.findings, report.lines, report.bytes) == ([], 12, SIZE)


@pytest.mark.parametrize("published", [0, 12])
def test_verification_changes_creates_and_locks_no_file(path: Path, published: int) -> None:
    publish(path, LINES[:published], _head(published))
    path.write_bytes(file_bytes(LINES) + b"torn")
    for file in path.parent.iterdir():
        file.chmod(0o400)

    def snapshot() -> list[tuple[str, int, bytes]]:
        files = sorted(path.parent.iterdir())
        return [(file.name, file.stat().st_mtime_ns, file.read_bytes()) for file in files]

    before = snapshot()
    verify(path, vocabulary=ITEMS)
    assert snapshot() == before
    mark_of(path).unlink()
    verify(path, vocabulary=ITEMS)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# Past the mark


@pytest.mark.parametrize("tail", [b"torn", LINES[10], file_bytes(LINES[10:]), b"\0" * 5000, b"\n"])
def test_bytes_past_the_mark_are_reported_and_are_not_damage(path: Path, tail: bytes) -> None:
    publish(path, LINES[:10], _head(10))
    report = _verify(path, file_bytes(LINES[:10]) + tail)
    assert _places(report) == [("torn-tail", 11, _offset(10))]
    assert (report.ok, report.lines, report.bytes) == (True, 10, _offset(10))


@pytest.mark.parametrize("tail", [b"torn", LINES[10], b"\0" * 5000])
def test_a_torn_tail_without_a_mark_is_an_incomplete_copy(path: Path, tail: bytes) -> None:
    report = _verify(path, file_bytes(LINES[:10]) + tail)
    assert _places(report) == [("torn-tail", 11, _offset(10))]
    assert (report.ok, report.lines) == (False, 10)


# Damage


@pytest.mark.parametrize("marked", [False, True])
def test_a_flipped_bit_gives_one_finding_at_its_line(path: Path, marked: bool) -> None:
    """A flipped digit of an id may look like a gap; that finding has the same place."""
    content = file_bytes(LINES[:3])
    if marked:
        publish(path, LINES[:3], _head(3))
    for byte, bit in product(range(len(content) - 1), (0, 3, 5)):
        damaged = bytearray(content)
        damaged[byte] ^= 1 << bit
        (finding,) = _verify(path, bytes(damaged)).findings
        line = content[:byte].count(b"\n")
        assert finding.kind in {"damaged", "gap"}
        assert (finding.position, finding.offset) == (line + 1, _offset(line))


def test_a_flipped_last_newline_is_damage_below_a_mark_and_a_torn_tail_without_one(
    path: Path,
) -> None:
    content = file_bytes(LINES)[:-1] + b"\x0b"
    assert _places(_verify(path, content)) == [("torn-tail", 12, _offset(11))]
    publish(path, LINES, HEAD)
    assert _places(_verify(path, content)) == [("damaged", 12, _offset(11))]
    assert not verify(path, vocabulary=ITEMS).ok


def test_each_of_several_damaged_lines_is_listed(path: Path) -> None:
    lines = [bytearray(line) for line in LINES]
    for number in (2, 3, 7, 11):
        lines[number][60] ^= 1
    report = _verify(path, b"".join(line + b"\n" for line in lines))
    assert _places(report) == [("damaged", n + 1, _offset(n)) for n in (2, 3, 7, 11)]
    assert (report.lines, report.head.position) == (8, 11)


def test_the_first_readable_line_after_an_unreadable_one_is_accepted(path: Path) -> None:
    for garbage in (b"\0" * len(LINES[4]), b"", b"{}", LINES[4][:50], b"x" * 100):
        content = file_bytes([*LINES[:4], garbage, *LINES[5:]])
        report = _verify(path, content)
        assert _places(report) == [("damaged", 5, _offset(4))]
        assert (report.lines, report.head.position) == (11, 12)


def test_a_line_that_is_too_long_is_one_finding_and_the_next_lines_are_checked(
    path: Path,
) -> None:
    long = b"x" * (3 * MAX_LINE_BYTES)
    report = _verify(path, file_bytes([*LINES[:4], long, *LINES[5:]]))
    (finding,) = report.findings
    assert finding == Finding("damaged", 5, _offset(4), "it is longer than 65535 bytes")
    assert report.head.position == 12


def test_a_file_that_is_not_a_log_is_damaged_at_its_first_byte(path: Path) -> None:
    report = _verify(path, b"some\nother\nfile\n")
    assert _places(report)[0] == ("damaged", 1, 0)
    assert (report.ok, report.lines) == (False, 0)


def test_findings_beyond_the_maximum_are_counted_and_not_listed(path: Path) -> None:
    report = _verify(path, b"garbage\n" * (MAX_FINDINGS + 7))
    assert (len(report.findings), report.left_off) == (MAX_FINDINGS, 7)


# Lines in another order


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 4, 5, 6], [("gap", 3, 2)]),
        ([1, 2, 3], [("gap", 1, 0)]),
        ([0, 1, 1, 2, 3], [("damaged", 3, 2)]),
        ([0, 1, 4, 5, 8, 9], [("gap", 3, 2), ("gap", 7, 4)]),
    ],
    ids=["left out", "first left out", "doubled", "two gaps"],
)
def test_missing_lines_are_a_gap_and_doubled_lines_are_damage(
    path: Path, order: Sequence[int], expected: list[tuple[Kind, int, int]]
) -> None:
    lines = [LINES[number] for number in order]
    report = _verify(path, file_bytes(lines))
    offsets = [(kind, position, len(file_bytes(lines[:at]))) for kind, position, at in expected]
    assert _places(report) == offsets
    assert report.head.position == order[-1] + 1


# Valid chains with another fault


@pytest.mark.parametrize(
    "change",
    [
        {"type": "item.painted"},
        {"data": {"color": "red"}},
        {"data": []},
        {"type": "session.ended", "data": {"reason": "bored"}},
    ],
)
def test_an_event_of_a_newer_version_is_not_damage(path: Path, change: dict[str, object]) -> None:
    lines = _rechain({}, {}, change, {}, {})
    report = _verify(path, file_bytes(lines))
    assert _places(report) == [("unknown-event", 3, len(file_bytes(lines[:2])))]
    assert (report.ok, report.lines) == (False, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "urn:uuid:00000000-0000-0000-0000-000000000000"},
        {"time": "2026-01-02T03:04:05.000005Z"},
        {"time": "tomorrow"},
        {"time": "2026-01-02T03:04:05Z"},
        {"time": "2026-01-02T03:04:06.00000٣Z"},
        {"id": "7"},
        {"specversion": "1.1"},
        {"subject": 7},
    ],
    ids=["source", "earlier", "no time", "seconds", "digits", "id", "specversion", "subject"],
)
def test_a_line_that_contradicts_the_lines_before_it_is_found(
    path: Path, change: dict[str, object]
) -> None:
    lines = _rechain({}, {}, change)
    (finding,) = _verify(path, file_bytes(lines)).findings
    assert finding.kind in {"damaged", "gap"}
    assert (finding.position, finding.offset) == (3, len(file_bytes(lines[:2])))


@pytest.mark.parametrize(
    ("old", "new"), [(b'"id":"3"', b'"id":"' + b"9" * 5000 + b'"'), (b'"hash":"', b'"hash":"x')]
)
def test_an_id_or_hash_that_cannot_be_parsed_is_named(path: Path, old: bytes, new: bytes) -> None:
    lines = [*LINES[:2], LINES[2].replace(old, new), *LINES[3:]]
    (finding,) = _verify(path, file_bytes(lines)).findings
    assert (finding.kind, finding.position) == ("damaged", 3)
    assert finding.detail == "its id is no number, or its hash no hash"


def test_control_damage_is_hidden_if_lines_are_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = file_bytes(LINES).replace(b"items/5", b"items/6")
    assert not _verify(path, damaged).ok

    def believe(mode: Mode, line: bytes, offset: int, seals: Seals) -> Judgement:
        return judge_line(Lost(mode.good, mode.position), line, offset, seals)

    monkeypatch.setattr(verify_module, "judge_line", believe)
    assert _verify(path, damaged).ok


# Mark and file


@pytest.mark.parametrize("size", [0, 5, SIZE // 2, SIZE - 1])
def test_a_file_shorter_than_its_mark_lacks_events(path: Path, size: int) -> None:
    publish(path, LINES, HEAD)
    content = file_bytes(LINES)[:size]
    report = _verify(path, content)
    assert _places(report) == [("missing", content.count(b"\n") + 1, size)]
    assert not report.ok


def test_a_mark_of_another_log_is_reported(path: Path) -> None:
    publish(path, LINES, Head(12, b"x" * 32))
    report = _verify(path, file_bytes(LINES))
    assert _places(report) == [("mark", 12, SIZE)]
    assert not report.ok


def test_a_rewritten_chain_contradicts_the_mark(path: Path) -> None:
    publish(path, LINES, HEAD)
    report = _verify(path, file_bytes(_rechain(*[{}] * 11, {"subject": "items/13"})))
    assert _places(report) == [("mark", 12, SIZE)]


@pytest.mark.parametrize("page", [b"", b"no mark", b"\0" * 4096])
def test_a_damaged_mark_is_reported_and_the_log_verified_without_it(
    path: Path, page: bytes
) -> None:
    mark_of(path).write_bytes(page)
    report = _verify(path, file_bytes(LINES))
    assert _places(report) == [("mark", 0, 0)]
    assert (report.ok, report.marked, report.lines) == (False, False, 12)
