"""A short campaign; the long one is ``python -m tests.fault_injection.failover``."""

from __future__ import annotations

from pathlib import Path

from tests.fault_injection.failover.campaign import FAILED_OVER, RETURNED, Plan, run


def test_fail_overs_lose_and_double_no_write_and_cause_no_stale_read(tmp_path: Path) -> None:
    report = run(tmp_path, Plan(times=2, refusals=1, clients=12, workers=2))
    assert not report.verdict.violations, f"{report}"
    assert not report.tracebacks
    assert {name: len(gaps) for name, gaps in report.gaps.items()} == {FAILED_OVER: 2, RETURNED: 1}
    assert report.verdict.counts["writes acknowledged"] > 50, f"{report}"
    assert report.refusals == 2, f"{report}"
