"""Kill processes of a real server under load and check linearizability.

    python -m tests.fault_injection.crashes --cycles 2000
    python -m tests.fault_injection.crashes --cycles 50 --seed 7

Workload: `eventapi serve` with four workers and 32 clients on one data directory; on every other
one, a server that closes every 256 lines of the log to a segment. Four of the
clients send every write with an Idempotency-Key until it is answered.

Faults, one per cycle: kill -9 of a worker, of all workers, of the supervisor, of
everything, during a start, during a snapshot; and a worker that is stopped and continued.

Checks, per directory of ``--each`` cycles: every operation against the log (lost,
duplicated, invented, reordered and misreported writes, stale and impossible reads, the hash chain);
item by item, a search for an order that explains the operations without using the log; tracebacks
and exit codes.

Duration: some seconds a cycle, so 2,000 cycles take hours; ``--seconds`` limits the time.

Replay: ``--seed`` repeats load and incidents of a directory, but not the scheduling of real
processes, so a failure may not repeat; the findings name the operations. The exit code is 1 if
there is a violation.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from tests.fault_injection.crashes.campaign import Totals, command_of, incidents, run_directory
from tests.fault_injection.machine import describe_machine


def main() -> int:
    """Run the campaign and print its figures; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--each", type=int, default=50, help="cycles before a fresh directory")
    parser.add_argument(
        "--seconds", type=float, default=0, help="start no new directory after this time"
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    totals, left, seed = Totals(), chosen.cycles, chosen.seed
    planned = incidents(random.Random(chosen.seed))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        _print(f"crashes of a server of four workers under 32 clients; {describe_machine(room)}")
        while left > 0 and not (chosen.seconds and time.monotonic() - started > chosen.seconds):
            cycles = min(chosen.each, left)
            data = room / f"data-{seed}"
            totals.add(run_directory(data, list(islice(planned, cycles)), seed, command_of(seed)))
            left -= cycles
            seed += 1
            acknowledged = totals.counts["writes acknowledged"]
            violations = totals.violations.total()
            _print(
                f"{chosen.cycles - left:>8,} cycles {acknowledged:>12,} acknowledged {violations:>6,} violations"
                f" {time.monotonic() - started:>8,.0f} s"
            )
    _print(str(totals))
    return 1 if totals.violations.total() else 0


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
