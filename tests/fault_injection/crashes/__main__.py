"""Kill a server under load, again and again: python -m tests.fault_injection.crashes --cycles 2000."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from tests.fault_injection.crashes.campaign import Totals, incidents, run_directory
from tests.fault_injection.machine import taken_on


def main() -> int:
    """Run the campaign and print its figures; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--each", type=int, default=50, help="cycles before a fresh directory")
    parser.add_argument("--seconds", type=float, default=0, help="begin no directory after that")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    totals, left, seed = Totals(), chosen.cycles, chosen.seed
    planned = incidents(random.Random(chosen.seed))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        _print(f"crashes of a server of four workers under 32 clients; {taken_on(room)}")
        while left > 0 and not (chosen.seconds and time.monotonic() - started > chosen.seconds):
            cycles = min(chosen.each, left)
            totals.add(run_directory(room / f"data-{seed}", list(islice(planned, cycles)), seed))
            left -= cycles
            seed += 1
            acknowledged = totals.counts["writes acknowledged"]
            wrong = totals.guilt.total()
            _print(
                f"{chosen.cycles - left:>8,} cycles {acknowledged:>12,} acknowledged {wrong:>6,} wrong"
                f" {time.monotonic() - started:>8,.0f} s"
            )
    _print(str(totals))
    return 1 if totals.guilt.total() else 0


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the table is what it is for


if __name__ == "__main__":
    sys.exit(main())
