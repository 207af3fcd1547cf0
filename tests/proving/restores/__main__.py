"""A campaign: ``python -m tests.proving.restores --histories 2000``."""

from __future__ import annotations

import argparse
import logging
import sys

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proving.restores.databases import DatabaseRestores
from tests.proving.restores.files import Restores
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving


def main() -> None:
    """Live so many histories; ends with code 1 at the first contradiction."""
    parser = argparse.ArgumentParser(prog="python -m tests.proving.restores")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--databases", action="store_true", help="over PostgreSQL")
    arguments = parser.parse_args()
    logging.disable()
    campaign = settings(
        max_examples=arguments.histories,
        stateful_step_count=arguments.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    if not arguments.databases:
        run_state_machine_as_test(Restores, settings=campaign)
        _print(Restores.totals)
        return
    with serving(PostgreSQL()) as DatabaseRestores.server:
        run_state_machine_as_test(DatabaseRestores, settings=campaign)
    _print(DatabaseRestores.totals)


def _print(totals: dict[str, int]) -> None:
    if not totals["compared"]:
        sys.exit("no two checkpoints were compared, so the campaign shows nothing")
    counts = " ".join(f"{name}={count}" for name, count in totals.items())
    sys.stdout.write(f"{counts} contradictions=0\n")


if __name__ == "__main__":
    main()
