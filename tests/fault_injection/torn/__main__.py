"""Damage a log, its mark and a snapshot in every way; check the verdicts.

    python -m tests.fault_injection.torn
    python -m tests.fault_injection.torn --stride 97 --without "as a file"

Workload: the real recovery and decoder on a log of 1,000 events in batches; for a share of the
cases, a real log is opened on real files.

Faults: truncation at every byte, flipped bits, records that are deleted, doubled or
swapped, zeroed and swapped sectors; each with several positions of the mark. The mark and a
snapshot are damaged bit by bit and truncated. Then the same in the open file of a log with closed
segments, in a segment, and in the files that a closing leaves when it is interrupted; each of these
cases opens a log, a shorter one.

Checks: the verdict (whole, torn or damaged) and the number of lines kept equal an answer
computed from the plan of the log alone, and no published line is dropped.

Duration: hours for every case; ``--stride N`` tries every N-th and takes about 1/N of the time.

Replay: cases depend on nothing random. The table names the kind of a wrong case; run
`tests.fault_injection.torn.tally.log_verdicts` for that kind to find it. The exit code is 1 if a
verdict is wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fault_injection.torn import segments
from tests.fault_injection.torn.history import History
from tests.fault_injection.torn.tally import COLUMNS, rows, tally


def main() -> int:
    """Print a table of verdicts; return 1 if one is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_injection.torn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--stride", type=int, default=1, help="try every N-th case")
    parser.add_argument("--without", default="", help="leave out the rows whose name contains this")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    _print(f"{'':48}" + "".join(f"{column:>11}" for column in COLUMNS))
    wrong = 0
    with TemporaryDirectory() as directory:
        room = Path(directory)
        found = rows(History(options.events), room, options.stride)
        behind = segments.rows(History(segments.LINES), room, options.stride)
        for name, row in (*found.items(), *behind.items()):
            if options.without and options.without in name:
                continue
            counts = tally(row())
            _print(f"{name:48}" + "".join(f"{counts[column]:>11,}" for column in COLUMNS))
            wrong += counts["wrong"] + counts["dropped"]
    return bool(wrong)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the output of the command


if __name__ == "__main__":
    sys.exit(main())
