"""``python -m tests.fault_injection.torn``: everything that can be done to a log, and what is said of it."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fault_injection.torn.history import History
from tests.fault_injection.torn.tally import COLUMNS, rows, tallied


def main() -> int:
    """The exit status: 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_injection.torn", description=__doc__
    )
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--stride", type=int, default=1, help="only every so manieth case")
    parser.add_argument("--without", default="", help="leave out rows whose name has this in it")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    _say(f"{'':48}" + "".join(f"{column:>11}" for column in COLUMNS))
    wrong = 0
    with TemporaryDirectory() as directory:
        found = rows(History(options.events), Path(directory), options.stride)
        for name, row in found.items():
            if options.without and options.without in name:
                continue
            counts = tallied(row())
            _say(f"{name:48}" + "".join(f"{counts[column]:>11,}" for column in COLUMNS))
            wrong += counts["wrong"] + counts["dropped"]
    return bool(wrong)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # it prints its table


if __name__ == "__main__":
    sys.exit(main())
