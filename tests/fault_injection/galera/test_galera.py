"""A short campaign; the long one is ``python -m tests.fault_injection.galera``."""

from __future__ import annotations

from pathlib import Path

from events.messages.server_log import COMMIT_ANSWER_LOST
from tests.end_to_end.linearizability import Violation
from tests.end_to_end.server import uvicorn_of
from tests.end_to_end.workload import Workload
from tests.fault_injection.failover.load import wait_for
from tests.fault_injection.galera.campaign import CUT_OFF, KILLED, Incidents, Plan, run
from tests.servers.galera import Cluster

_ANSWER_LOST = COMMIT_ANSWER_LOST.text.partition("{")[0]


def test_nodes_that_are_killed_and_cut_off_lose_and_double_no_write_and_cause_no_stale_read(
    galera: Cluster, tmp_path: Path
) -> None:
    plan = Plan(kills=1, cuts=1, freezes=0, joins=0, clients=12, instances=2)
    report = run(tmp_path, plan, galera)
    assert not report.verdict.violations, f"{report}"
    assert not report.tracebacks
    assert {name: len(gaps) for name, gaps in report.gaps.items()} == {KILLED: 1, CUT_OFF: 1}
    assert report.verdict.counts["writes acknowledged"] > 50, f"{report}"
    assert report.refusals == 0, f"{report}"


class UntilOneIsRefused(Incidents):
    """Disturbs nothing, and waits until a server has taken a refused COMMIT for a success."""

    def run(self, workload: Workload) -> None:
        """Wait for the report of any server."""
        wait_for(lambda: any(_ANSWER_LOST in server.output for server in self.servers))


def test_control_a_refused_commit_that_is_taken_for_a_success_is_found(
    galera: Cluster, tmp_path: Path
) -> None:
    planted = uvicorn_of("tests.fault_injection.galera.planted:create_app")
    plan = Plan(
        clients=3
    )  # None of them insists on an answer: a server with the bug soon has none.
    report = run(tmp_path, plan, galera, UntilOneIsRefused, planted)
    assert report.verdict.violations[Violation.LOST], f"{report}"
