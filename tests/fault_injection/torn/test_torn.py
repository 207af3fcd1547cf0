"""The short form: a stride through everything that can be done to a log of 1,000 events."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from events.log.file import recovery
from tests.fault_injection.torn.cases import CASES
from tests.fault_injection.torn.history import History, Verdict
from tests.fault_injection.torn.others import mark_cases, snapshot_cases
from tests.fault_injection.torn.tally import of_files, of_log, tallied

STRIDE = int(os.environ.get("TORN_STRIDE", "197"))


@cache
def _history() -> History:
    return History(1000)


@pytest.mark.parametrize("name", CASES)
def test_every_case_gets_the_right_answer_and_nothing_published_is_dropped(name: str) -> None:
    counts = tallied(of_log(_history(), CASES[name], STRIDE))
    assert counts["cases"] > 50
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_opens_the_files_comes_to_the_same(name: str, tmp_path: Path) -> None:
    counts = tallied(of_files(tmp_path / "data", _history(), CASES[name], 97 * 797))
    assert counts["cases"] > 1
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


def test_no_mark_that_is_damaged_says_what_is_not_so(tmp_path: Path) -> None:
    count = len(_history().lines)
    marks = mark_cases(tmp_path / "mark", _history(), 37)
    counts = tallied((right, given, count) for right, given in marks)
    assert counts["damaged"] > 50
    assert (counts["wrong"], counts["dropped"]) == (0, 0)


def test_a_snapshot_is_believed_whole_or_not_at_all(tmp_path: Path) -> None:
    cases = list(snapshot_cases(tmp_path / "snapshots", 31))
    assert cases[0][1].kind == "whole"
    assert all(right == given for right, given in cases)


def test_control_a_recovery_that_cuts_whatever_is_broken_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_parse_anywhere", lambda _: None)
    assert tallied(of_log(_history(), CASES["a record deleted"], STRIDE))["wrong"]


def test_control_a_recovery_that_refuses_a_batch_with_a_hole_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_is_of_batch", lambda *_: False)
    assert tallied(of_log(_history(), CASES["sectors zeroed"], STRIDE))["wrong"]


def test_control_a_published_line_that_is_gone_counts_as_dropped() -> None:
    assert tallied([(Verdict("torn", 4), Verdict("torn", 4), 5)])["dropped"] == 1
