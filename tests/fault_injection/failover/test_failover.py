"""A short campaign; the long one is ``python -m tests.fault_injection.failover``."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.linearizability import Violation
from tests.fault_injection.failover.campaign import FAILED_OVER, RETURNED, Incidents, Plan, run
from tests.fault_injection.failover.load import FailoverWorkload, wait_for, wait_for_each


def test_fail_overs_lose_and_double_no_write_and_cause_no_stale_read(tmp_path: Path) -> None:
    report = run(tmp_path, Plan(times=2, refusals=1, clients=12, workers=2))
    assert not report.verdict.violations, f"{report}"
    assert not report.tracebacks
    assert {name: len(gaps) for name, gaps in report.gaps.items()} == {FAILED_OVER: 2, RETURNED: 1}
    assert report.verdict.counts["writes acknowledged"] > 50, f"{report}"
    assert report.refusals == 2, f"{report}"


class WithoutMark(Incidents):
    """Fails over to a standby that lost events, and lets the server forget them."""

    def fail_over(self, workload: FailoverWorkload) -> None:
        """Do what a server would do that does not compare positions."""
        self.pair.standby.stop()
        wait_for_each(workload.written, self.server.worker_pids)
        self.begin(FAILED_OVER)
        self.server.kill()
        self.pair.primary.kill()
        self.pair.standby.start()
        self.pair.promote()
        for mark in self.server.data.glob("database-*.mark"):
            mark.unlink()
        self.server.launch()
        self.server.wait_until_ready()
        self.end(workload)

    def wait_for_writes(self, workload: FailoverWorkload) -> None:
        """Wait for any worker: all clients may have connected to the one that was up first."""
        before = workload.written.total()
        wait_for(lambda: workload.written.total() > before)


def test_control_a_fail_over_that_loses_acknowledged_writes_is_found(tmp_path: Path) -> None:
    report = run(tmp_path, Plan(times=1, refusals=0, clients=12, workers=2), WithoutMark)
    assert report.verdict.violations[Violation.LOST], f"{report}"
