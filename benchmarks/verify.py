"""Measure `log verify`: lines a second and core, over logs of several sizes.

    python -m benchmarks.verify [--sizes N,N,...] [--rounds N]

Sizes take turns within a round. One process is measured by its own processor time, and all cores
together by the clock, their start included.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.sample_log import write
from events.verification.verify import verify


def measured(path: Path, processes: int) -> float:
    """How long a check takes that finds nothing, in seconds."""
    clock = time.process_time if processes == 1 else time.perf_counter
    started = clock()
    if not verify(path, processes=processes).ok:
        raise SystemExit("the log that was made is not whole")
    return clock() - started


def main() -> None:
    """Measure what the command line asks for."""
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
                (size, processes): measured(folder / "events.jsonl", processes)
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
