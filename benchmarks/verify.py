"""Measure `log verify`: lines a second and core, over logs of several sizes.

    python -m benchmarks.verify [--sizes N,N,...] [--rounds N]

Sizes take turns within a round. A single process is measured by its CPU time, and all cores
together by the clock, including the start of processes.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.sample_log import write
from eventapi.testing.items import ITEMS
from events.verification.verify import verify
from events.vocabulary.vocabulary import Vocabulary


def time_verify(path: Path, processes: int, vocabulary: Vocabulary = ITEMS) -> float:
    """Return the seconds of a check; ends the program if it finds damage."""
    clock = time.process_time if processes == 1 else time.perf_counter
    started = clock()
    if not verify(path, vocabulary=vocabulary, processes=processes).ok:
        raise SystemExit("the generated log is damaged")
    return clock() - started


def main() -> None:
    """Measure with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--sizes", default="100000,200000,400000")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        paths = {size: Path(name) / str(size) for size in sizes}
        for size, folder in paths.items():
            folder.mkdir()
            asyncio.run(write(folder, size))
        rounds = [
            {
                (size, processes): time_verify(folder / "events.jsonl", processes)
                for size, folder in paths.items()
                for processes in sorted({1, cores})
            }
            for _ in range(options.rounds)
        ]
    smallest = statistics.median(each[sizes[0], 1] for each in rounds) / sizes[0]
    print(f"{'lines':>10} {'cores':>6} {'lines/s a core':>15} {'time a line':>12}")
    for size, processes in rounds[0]:
        seconds = statistics.median(each[size, processes] for each in rounds)
        rate = size / seconds / processes
        ratio = seconds * processes / size / smallest
        print(f"{size:10,} {processes:6} {rate:15,.0f} {ratio:12.2f}")


if __name__ == "__main__":
    main()
