"""A short campaign; the long one is ``python -m tests.fault_injection.webhooks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault_injection.webhooks.campaign import Report, check, run

KILLS = {"holder": 2, "all": 1}
FAULTS = {"refuse": 7, "stall": 7, "tear": 1}


@pytest.mark.long
def test_nothing_is_skipped_while_the_receiver_and_the_server_fail(tmp_path: Path) -> None:
    report = run(tmp_path / "data", events=1_000, kills=8, failure_rate=0.005, seed=1)
    check(report)
    assert report.events >= 1_000
    assert report.faults


def test_a_repeat_for_each_kill_and_each_lost_answer_is_permitted() -> None:
    check(Report(3, [], [], 4, KILLS, FAULTS, 0))


@pytest.mark.parametrize(
    "report",
    [
        Report(3, [2], [], 0, KILLS, FAULTS, 0),
        Report(3, [], [(3, 2)], 0, KILLS, FAULTS, 0),
        Report(3, [], [], 5, KILLS, FAULTS, 0),
        Report(3, [], [], 0, KILLS, FAULTS, 1),
    ],
)
def test_control_a_broken_promise_is_found(report: Report) -> None:
    with pytest.raises(AssertionError):
        check(report)
