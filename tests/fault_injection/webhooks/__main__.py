"""The long campaign: ``python -m tests.fault_injection.webhooks --events 100000 --kills 200``."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fault_injection.webhooks.campaign import check, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Webhooks while everything fails at random.")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--failure-rate", type=float, default=0.002)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        report = run(
            Path(directory) / "data",
            options.events,
            options.kills,
            options.failure_rate,
            options.seed,
            options.workers,
        )
    print(report)  # noqa: T201 - a script reports
    check(report)
