"""A campaign: ``python -m tests.fault_injection.restores --histories 2000``."""

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
    """Live so many histories; ends with code 1 at the first fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection.restores")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--databases", action="store_true", help="over PostgreSQL")
    other.add_argument("--erasures", action="store_true", help="who is erased stays erased")
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
    """A campaign that has compared nothing has proven nothing, so it fails."""
    counts = " ".join(f"{name}={count}" for name, count in totals.items())
    sys.stdout.write(f"{counts} {fault}=0\n")
    if not all(totals.values()):
        sys.exit("nothing was compared")


if __name__ == "__main__":
    main()
