"""Restore, copy and lose files in any order, and check signatures and erasures.

    python -m tests.fault_injection.restores --histories 2000
    python -m tests.fault_injection.restores --histories 2000 --databases
    python -m tests.fault_injection.restores --histories 2000 --erasures

Workload: Hypothesis state machines with real data directories, journals and commands. By default,
two machines with a log in a file; with ``--databases``, two instances over PostgreSQL.

Faults: copies of directories and databases that are put back whole or in part, lost and
truncated files, restored logs, moved keys, new keys, presented checkpoints; with ``--erasures``,
erased users, interrupted erasures, and restores of older logs, older vaults or both.

Checks: no two checkpoints signed under one key contradict each other; with ``--erasures``,
no copy of the log yields the data of an erased user, and all other users stay readable.

Duration: 2,000 histories of 20 steps take hours over files or PostgreSQL, less for erasures.

Replay: on a failure, Hypothesis prints the shortest sequence of steps; paste them into a test, as in
`test_restores.py`. The exit code is 1 at the first failure, or if nothing was compared.
"""

from __future__ import annotations

import argparse
import logging
import sys

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fault_injection.restores.databases import DatabaseRestores
from tests.fault_injection.restores.erasures import Erasures
from tests.fault_injection.restores.files import Restores
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving


def main() -> None:
    """Run the campaign; exit with code 1 at the first failure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_injection.restores",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--databases", action="store_true", help="over PostgreSQL")
    other.add_argument("--erasures", action="store_true", help="erased users stay erased")
    arguments = parser.parse_args()
    logging.disable()
    campaign = settings(
        max_examples=arguments.histories,
        stateful_step_count=arguments.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    if arguments.erasures:
        run_state_machine_as_test(Erasures, settings=campaign)
        _print(Erasures.totals, "readable")
    elif arguments.databases:
        with serving(PostgreSQL()) as DatabaseRestores.server:
            run_state_machine_as_test(DatabaseRestores, settings=campaign)
        _print(DatabaseRestores.totals, "contradictions")
    else:
        run_state_machine_as_test(Restores, settings=campaign)
        _print(Restores.totals, "contradictions")


def _print(totals: dict[str, int], fault: str) -> None:
    """Print the totals; exit with an error if nothing was compared."""
    counts = " ".join(f"{name}={count}" for name, count in totals.items())
    sys.stdout.write(f"{counts} {fault}=0\n")
    if not all(totals.values()):
        sys.exit("nothing was compared")


if __name__ == "__main__":
    main()
