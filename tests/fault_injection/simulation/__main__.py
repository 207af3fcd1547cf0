"""Deterministic simulation of processes, disk and clock with random faults.

    python -m tests.fault_injection.simulation --seeds 0..1000
    python -m tests.fault_injection.simulation --one 123 --verbose
    python -m tests.fault_injection.simulation --planted

Workload: the real code of log, mark, recovery, closing of segments, journal, snapshots and replay,
in one to three simulated processes with clients. In three of five seeds the processes close
segments of a few lines all the time. Only the operating system and the vault are simulated.

Faults: killed and stopped processes, power cuts that keep any part of the unsynced data,
failed syncs, full disks, short writes, slow disks, clock jumps, clients that disconnect, damaged
snapshots. All randomness comes from the seed.

Checks: every acknowledged event survives with its position; no refused or unsent request
is in the log; reads never go backwards and show only durable events; an idempotency key has one
effect; keys of erased users are gone and personal data lies nowhere unsealed; after the last start,
the served state equals a fold of the log; a log damaged below the mark is refused.

Duration: about 20 seeds a second on one idle core. ``--planted`` runs up to 400 seeds for each bug.

Replay: a failure prints its seed; ``--one SEED --verbose`` runs it again, call by call. The exit
code is 1 if a promise is broken, or a planted bug is not found.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from tests.fault_injection.simulation.planted import PLANTED
from tests.fault_injection.simulation.run import Result, run

MAX_LISTED = 20
SEEDS_PER_BUG = 400


def main() -> int:
    """Run the chosen mode; return 1 on a broken promise or a missed planted bug."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_injection.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", default="0..1000", help="A..B, without B")
    parser.add_argument("--one", type=int, metavar="SEED", help="run only this seed")
    parser.add_argument("--verbose", action="store_true", help="print every call of --one")
    parser.add_argument("--planted", action="store_true", help="search the planted bugs")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.one is not None:
        return _one(options.one, verbose=options.verbose)
    first, _, last = options.seeds.partition("..")
    if options.planted:
        return _find_planted_bugs()
    return _campaign(range(int(first), int(last)))


def _one(seed: int, *, verbose: bool) -> int:
    result = run(seed, keep_trace=verbose)
    for line in result.trace:
        _print(line)
    _print(
        f"seed {seed}, fingerprint {result.fingerprint}: {result.failure or 'all promises kept'}"
    )
    return bool(result.failure)


def _campaign(seeds: range) -> int:
    counts: Counter[str] = Counter()
    failures: list[Result] = []
    started = time.monotonic()
    done = 0
    for seed in seeds:
        try:
            result = run(seed)
        except KeyboardInterrupt:
            break
        done += 1
        counts += result.counts
        if result.failure:
            failures.append(result)
            _print_progress(f"--one {result.seed}: {result.failure}")
        if done % 1000 == 0:
            _print_progress(f"{done} seeds, {len(failures)} failures")
    seconds = time.monotonic() - started
    _row("seeds", done)
    _row("seeds a second", round(done / seconds, 1))
    for name, count in sorted(counts.items()):
        _row(name, count)
    _row("failures", len(failures))
    for result in failures[:MAX_LISTED]:
        _print(f"--one {result.seed}: {result.failure}")
    return bool(failures)


def _find_planted_bugs() -> int:
    missed = 0
    _print(f"{'planted bug':40}{'first seed':>12}{f'caught in {SEEDS_PER_BUG}':>16}")
    for name, bug in PLANTED.items():
        caught = [seed for seed in range(SEEDS_PER_BUG) if run(seed, bug()).failure]
        _print(f"{name:40}{caught[0] if caught else 'none':>12}{len(caught):>16}")
        missed += not caught
    return bool(missed)


def _row(name: str, value: float) -> None:
    _print(f"{name:40}{value:>14,}")


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the output of the command


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    sys.exit(main())
