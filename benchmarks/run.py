"""Measure everything, print a table for each part, and write the page.

    python -m benchmarks.run [--quick] [--kinds]

The parts are `benchmarks.http`, `benchmarks.features`, `benchmarks.log`, `benchmarks.replay` and
`benchmarks.growth`, each a separate process. Each part stores its figures early, and the page is
written after every part: a failed part does not lose the figures of others, and can be measured again
alone, with ``--keep``. With ``--kinds``, growth is measured over declared kinds as well, which takes
another hour. Exits with 1 if a part failed, or a goal is missed or has no figure.
"""

import subprocess
import sys
import time

from benchmarks import goals, page
from benchmarks.machine import command_line, progress
from benchmarks.results import load

PARTS = {"http": 23, "features": 4, "log": 3, "replay": 1, "growth": 8}
"""The most minutes of each part, excluding its last round."""

MODULES = {"kinds": ["benchmarks.growth", "--kinds"]}
"""The command of a part that is not a module."""

KINDS_MINUTES = 60


def main() -> None:
    """Run the parts one after the other."""
    parser = command_line("run", __doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: some minutes")
    parser.add_argument("--kinds", action="store_true", help="also growth of declared kinds: long")
    options = parser.parse_args()
    began = time.monotonic()
    failed = []
    for part, minutes in {**PARTS, **({"kinds": KINDS_MINUTES} if options.kinds else {})}.items():
        progress(f"{part}: {minutes} minutes at most; {(time.monotonic() - began) / 60:.1f} so far")
        before = getattr(load(), part)
        command = [sys.executable, "-m", *MODULES.get(part, [f"benchmarks.{part}"])]
        command += ["--keep", "--minutes", str(minutes)]
        ran = subprocess.run([*command, *(["--quick"] if options.quick else [])], check=False)
        results = load()
        if ran.returncode not in {0, goals.MISSED} or getattr(results, part) == before:
            progress(f"{part} FAILED; its stored figures stay")
            failed.append(part)
        page.write(results)
        print(flush=True)
    results = load()
    print(goals.table(results).text())
    progress(f"{(time.monotonic() - began) / 60:.1f} minutes; the page is {page.PAGE.name}")
    sys.exit(1 if goals.judge(results, whole=True) or failed else 0)


if __name__ == "__main__":
    main()
