"""Kill and cut off nodes of MariaDB Galera under load and check linearizability.

    python -m tests.fault_injection.galera --kills 12 --cuts 12 --freezes 4 --joins 2

Workload: three instances of `eventapi serve`, each at another node of a cluster of three. The first
knows its own node alone, the others know all hosts. A quarter of the clients send every write with
an Idempotency-Key until it is answered.

Faults, each time of the next node: it is killed with SIGKILL and started again; it is cut off from
the other nodes, but not from its clients; all of its processes are stopped with SIGSTOP, and
continued; it is killed, loses its data and joins with a copy of another node's.

Checks: every operation against the log (lost, doubled, invented, reordered and misreported writes,
stale and impossible reads, the hash chain). The exit code is 1 if there is a violation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fault_injection.galera.campaign import Plan, run
from tests.fault_injection.machine import describe_machine
from tests.servers.galera import Cluster


def main() -> int:
    """Run the campaign and print its figures; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in Plan.__struct_fields__:
        default = getattr(Plan(), name)
        parser.add_argument(f"--{name}", type=type(default), default=default)
    plan = Plan(**vars(parser.parse_args()))
    print(describe_machine(Path.cwd()), flush=True)  # noqa: T201 - the output of the command
    with tempfile.TemporaryDirectory(prefix="eventapi-galera-") as name, Cluster() as cluster:
        report = run(Path(name), plan, cluster)
    print(report)  # noqa: T201 - as above
    return 1 if report.verdict.violations or report.tracebacks else 0


if __name__ == "__main__":
    sys.exit(main())
