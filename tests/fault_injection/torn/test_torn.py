"""Short form of the damage campaign: a stride through all cases.

TORN_STRIDE sets the stride. See `tests.fault_injection.torn.__main__`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import zstandard

from events.log.file import closing, recovery
from tests.fault_injection.simulation.bugs import Bug, instead, nothing
from tests.fault_injection.torn import segments
from tests.fault_injection.torn.cases import CASES
from tests.fault_injection.torn.history import History, Verdict
from tests.fault_injection.torn.other_files import mark_cases, snapshot_cases
from tests.fault_injection.torn.tally import file_verdicts, log_verdicts, tally

STRIDE = int(os.environ.get("TORN_STRIDE", "197"))
_ZstdCompressor = zstandard.ZstdCompressor
FEW_CASES = ("a segment", "left over from a closing")


@cache
def _history() -> History:
    return History(1000)


@pytest.mark.parametrize("name", CASES)
def test_recovery_gives_the_expected_verdict_and_drops_no_published_line(name: str) -> None:
    counts = tally(log_verdicts(_history(), CASES[name], STRIDE))
    assert counts["cases"] > 50
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


@pytest.mark.parametrize("name", CASES)
def test_opening_real_files_gives_the_expected_verdict(name: str, tmp_path: Path) -> None:
    counts = tally(file_verdicts(tmp_path / "data", _history(), CASES[name], 97 * 797))
    assert counts["cases"] > 1
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


@pytest.mark.parametrize("name", segments.rows(History(1), Path(), 1))
def test_a_log_with_closed_segments_gives_the_expected_verdict(name: str, tmp_path: Path) -> None:
    stride = max(STRIDE // 2, 1) if name in FEW_CASES else STRIDE
    counts = tally(segments.rows(History(segments.LINES), tmp_path, stride)[name]())
    assert counts["cases"] > 5
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


def test_damaged_mark_is_refused_or_still_correct(tmp_path: Path) -> None:
    count = len(_history().lines)
    marks = mark_cases(tmp_path / "mark", _history(), 37)
    counts = tally((right, given, count) for right, given in marks)
    assert counts["damaged"] > 50
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


def test_damaged_snapshot_is_rejected(tmp_path: Path) -> None:
    cases = list(snapshot_cases(tmp_path / "snapshots", 31))
    assert cases[0][1].kind == "whole"
    assert all(right == given for right, given in cases)


def test_control_recovery_that_cuts_every_broken_line_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_parse_anywhere", lambda _: None)
    assert tally(log_verdicts(_history(), CASES["a record deleted"], STRIDE))["wrong"]


def test_control_recovery_that_refuses_a_batch_with_a_hole_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_is_of_batch", lambda *_: False)
    assert tally(log_verdicts(_history(), CASES["sectors zeroed"], STRIDE))["wrong"]


def _without_checksum(level: int, **_: object) -> zstandard.ZstdCompressor:
    return _ZstdCompressor(level, write_content_size=True)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("a record deleted, behind segments", instead(recovery, "_parse_anywhere", nothing)),
        ("sectors zeroed, behind segments", instead(recovery, "_is_of_batch", nothing)),
        ("a segment", instead(zstandard, "ZstdCompressor", _without_checksum)),
        ("left over from a closing", instead(closing, "_set_aside", lambda one, _: one.unlink())),
    ],
)
def test_control_a_planted_bug_is_found_in_a_log_with_closed_segments(
    tmp_path: Path, name: str, bug: Bug
) -> None:
    with bug():
        assert tally(segments.rows(History(segments.LINES), tmp_path, 97)[name]())["wrong"]


def test_control_missing_published_line_counts_as_dropped() -> None:
    assert tally([(Verdict("torn", 4), Verdict("torn", 4), 5)])["dropped"] == 1
