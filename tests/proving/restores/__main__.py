"""A campaign: ``python -m tests.proving.restores --histories 2000``."""

from __future__ import annotations

import argparse
import logging
import sys

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proving.restores.files import Restores


def main() -> None:
    """Live so many histories; ends with code 1 at the first contradiction."""
    parser = argparse.ArgumentParser(prog="python -m tests.proving.restores")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    logging.disable()
    campaign = settings(
        max_examples=arguments.histories,
        stateful_step_count=arguments.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Restores, settings=campaign)
    told = " ".join(f"{name}={count}" for name, count in Restores.totals.items())
    sys.stdout.write(f"{told} contradictions=0\n")


if __name__ == "__main__":
    main()
