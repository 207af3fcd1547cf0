"""Fail over PostgreSQL under load and check linearizability.

    python -m tests.fault_injection.failover --times 50 --clients 64

Workload: `eventapi serve` with four workers over a PostgreSQL with a standby, whose address has both
hosts. A quarter of the clients send every write with an Idempotency-Key until it is answered.

Faults: the primary is killed with SIGKILL, and its synchronous standby promoted. In between, an
asynchronous standby that lacks events is promoted after its primary was killed: every worker must
refuse it, until the primary is started again beside it.

Checks: every operation against the log (lost, doubled, invented, reordered and misreported writes,
stale and impossible reads, the hash chain). The exit code is 1 if there is a violation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fault_injection.failover.campaign import WORKERS, Plan, run
from tests.fault_injection.machine import describe_machine


def main() -> int:
    """Run the campaign and print its figures; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50, help="fail-overs")
    parser.add_argument("--refusals", type=int, default=10, help="standbys that lost events")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=0, help="begin no new incident after this time"
    )
    plan = Plan(**vars(parser.parse_args()))
    print(describe_machine(Path.cwd()), flush=True)  # noqa: T201 - the output of the command
    with tempfile.TemporaryDirectory(prefix="eventapi-failover-") as name:
        report = run(Path(name), plan)
    print(report)  # noqa: T201 - as above
    return 1 if report.verdict.violations or report.tracebacks else 0


if __name__ == "__main__":
    sys.exit(main())
