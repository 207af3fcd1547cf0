"""``python -m tests.fault_injection.simulation``: many seeds, one seed, or the planted bugs."""

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
    """The exit status: 1 where a promise was broken, or a planted bug was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_injection.simulation", description=__doc__
    )
    parser.add_argument("--seeds", default="0..1000", help="A..B, B not among them")
    parser.add_argument("--one", type=int, metavar="SEED", help="only this one")
    parser.add_argument("--verbose", action="store_true", help="every call of --one")
    parser.add_argument("--planted", action="store_true", help="the planted bugs")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.one is not None:
        return _one(options.one, verbose=options.verbose)
    first, _, last = options.seeds.partition("..")
    if options.planted:
        return _planted()
    return _campaign(range(int(first), int(last)))


def _one(seed: int, *, verbose: bool) -> int:
    result = run(seed, keep_trace=verbose)
    for line in result.trace:
        _say(line)
    _say(f"seed {seed}, fingerprint {result.fingerprint}: {result.failure or 'every promise kept'}")
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
            _note(f"--one {result.seed}: {result.failure}")
        if done % 1000 == 0:
            _note(f"{done} seeds, {len(failures)} failures")
    seconds = time.monotonic() - started
    _row("seeds", done)
    _row("seeds a second", round(done / seconds, 1))
    for name, count in sorted(counts.items()):
        _row(name, count)
    _row("failures", len(failures))
    for result in failures[:MAX_LISTED]:
        _say(f"--one {result.seed}: {result.failure}")
    return bool(failures)


def _planted() -> int:
    missed = 0
    _say(f"{'planted bug':40}{'first seed':>12}{f'caught in {SEEDS_PER_BUG}':>16}")
    for name, bug in PLANTED.items():
        caught = [seed for seed in range(SEEDS_PER_BUG) if run(seed, bug()).failure]
        _say(f"{name:40}{caught[0] if caught else 'none':>12}{len(caught):>16}")
        missed += not caught
    return bool(missed)


def _row(name: str, value: float) -> None:
    _say(f"{name:40}{value:>14,}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a campaign prints its table


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    sys.exit(main())
