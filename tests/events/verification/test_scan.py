"""The parallel scan makes `log verify` faster, and never changes its report."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import registered
from eventapi.testing.items import ITEMS
from eventapi.testing.sample_log import Written, write
from eventapi.testing.strategies import sound_histories
from events.log.port import Head
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import TreeHead
from events.verification import checks
from events.verification import verify as verify_module
from events.verification.report import Report
from events.verification.scan import ScanOptions, Segment, scan
from events.verification.verify import verify
from tests.events.log_helpers import file_bytes, publish

SEGMENT_BYTES = 2_000
"""A few lines, so that a short log has several segments."""

LINE_BY_LINE = 0
"""As a number of bytes in a segment: the scan is switched off."""


def head_of(lines: list[bytes], size: int) -> TreeHead:
    return TreeHead("eventapi/test", size, root_of([leaf_hash(line) for line in lines[:size]]))


@st.composite
def _mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """The content after up to two random mutations."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        lines = content.split(b"\n")
        one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["flip", "cut", "insert", "leave out", "double", "swap"])):
            case "flip":
                bit = 1 << draw(st.integers(0, 7))
                content = content[:at] + bytes(byte ^ bit for byte in content[at : at + 1])
                content += b"\n".join(lines)[at + 1 :]
            case "cut":
                content = content[:at]
            case "insert":
                content = (
                    content[:at] + draw(st.sampled_from([b"\n", b"\0", b"{}\n"])) + content[at:]
                )
            case "leave out":
                content = b"\n".join(lines[:one] + lines[one + 1 :])
            case "double":
                content = b"\n".join([*lines[:one], lines[one], *lines[one:]])
            case "swap":
                lines[one], lines[other] = lines[other], lines[one]
                content = b"\n".join(lines)
    return content


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Written, bytes, int, list[str], bool]:
    """A log, its mutated bytes, a checkpoint's size, lost keys, and if it has a mark."""
    written = write(draw(sound_histories()))
    content = draw(_mutated(file_bytes(written.lines)))
    size = draw(st.integers(0, len(written.lines)))
    lost = draw(st.lists(st.sampled_from(sorted(written.keys)))) if written.keys else []
    return written, content, size, lost, draw(st.booleans())


def _report(case: tuple[Written, bytes, int, list[str], bool], segment_bytes: int) -> Report:
    written, content, size, lost, marked = case
    keys = {subject: key for subject, key in written.keys.items() if subject not in lost}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        if marked and written.records:
            last = written.records[-1]
            publish(path, written.lines, Head(last.position, last.hash))
        path.write_bytes(content)
        return verify(
            path,
            vocabulary=ITEMS,
            checkpoint=head_of(written.lines, size),
            keys=keys,
            processes=1,
            segment_bytes=segment_bytes,
        )


@given(_cases())
def test_law_the_report_is_the_same_with_and_without_the_scan(
    case: tuple[Written, bytes, int, list[str], bool],
) -> None:
    assert _report(case, SEGMENT_BYTES) == _report(case, LINE_BY_LINE)


def _write_log(path: Path, events: int = 60) -> list[bytes]:
    written = write(registered(number, f"user{number}") for number in range(1, events + 1))
    path.write_bytes(file_bytes(written.lines))
    return written.lines


def _segments(path: Path, leaves: int = 0, processes: int = 1) -> list[Segment]:
    options = ScanOptions(ITEMS, leaves, segment_bytes=SEGMENT_BYTES)
    return list(scan(path, path.stat().st_size, options, processes))


def test_an_intact_log_is_scanned_in_segments_and_not_checked_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    lines = _write_log(path)

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(verify_module, "judge_line", fail)
    checkpoint = head_of(lines, len(lines))
    report = verify(
        path, vocabulary=ITEMS, checkpoint=checkpoint, processes=1, segment_bytes=SEGMENT_BYTES
    )
    assert (report.ok, report.lines) == (True, len(lines))
    assert len(_segments(path)) > 5


def test_parallel_processes_report_the_same_as_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = _write_log(path)
    for leaves in (0, 7, len(lines)):
        assert _segments(path, leaves, 3) == _segments(path, leaves)
    path.write_bytes(path.read_bytes().replace(b'"id":"31"', b'"id":"13"'))
    one, three = (
        verify(path, vocabulary=ITEMS, processes=count, segment_bytes=SEGMENT_BYTES)
        for count in (1, 3)
    )
    assert one == three
    assert not one.ok


def test_lines_are_checked_one_by_one_from_the_damaged_segment_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = _write_log(path)
    damaged = [bytearray(line) for line in lines]
    damaged[40][50] ^= 1
    path.write_bytes(b"".join(line + b"\n" for line in damaged))
    segments = _segments(path)
    assert 0 < segments[-1].last.position <= 40
    report = verify(
        path,
        vocabulary=ITEMS,
        checkpoint=head_of(lines, 60),
        processes=1,
        segment_bytes=SEGMENT_BYTES,
    )
    assert [(found.kind, found.position) for found in report.findings] == [
        ("damaged", 41),
        ("checkpoint", 60),
    ]


@pytest.mark.parametrize("segment_bytes", [SEGMENT_BYTES, LINE_BY_LINE])
@pytest.mark.parametrize(
    ("check", "broken_check"),
    [
        ("check_link", lambda line, _: bytes.fromhex(line[-66:-2].decode())),
        ("check_seal", lambda line, cipher, vocabulary: None),
    ],
    ids=["check_link", "check_seal"],
)
def test_control_a_check_that_is_left_out_hides_damage_from_both_ways(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    broken_check: object,
    segment_bytes: int,
) -> None:
    path = tmp_path / "events.jsonl"
    written = write(registered(number, f"user{number}") for number in range(1, 61))
    keys = dict(written.keys)
    if check == "check_link":
        path.write_bytes(file_bytes(written.lines).replace(b"operator/t", b"operator/r"))
    else:
        path.write_bytes(file_bytes(written.lines))
        keys["users/31"] = bytes(32)
    assert not verify(
        path, vocabulary=ITEMS, keys=keys, processes=1, segment_bytes=segment_bytes
    ).ok
    monkeypatch.setattr(checks, check, broken_check)
    assert verify(path, vocabulary=ITEMS, keys=keys, processes=1, segment_bytes=segment_bytes).ok
