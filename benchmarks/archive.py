"""Measure an archive of the log: writing, checking and reading it.

    python -m benchmarks.archive [--events N] [--bucket]

The archive is in a directory, or in a bucket of moto's server on this machine, which takes most of the
time then: compare CPU and memory, which are those of the command alone. The rows are those of one run.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.commands import run
from benchmarks.sample_log import write
from eventapi.bootstrap.archives import objects_at
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.archive.reader import ArchivedLog
from tests.eventapi.cli.running import written
from tests.events.buckets import bucket

LINES_READ = 200
NEW_LINES = 1_000


def row(name: str, data: Path, *words: str) -> None:
    """Run a command, and print its seconds, CPU seconds and the most memory that it had."""
    started = time.perf_counter()
    cpu, memory = run(data, *words)
    seconds = time.perf_counter() - started
    print(f"| {name} | {seconds:.1f} s | {cpu:.1f} s | {memory:.0f} MB |", flush=True)


async def read_lines(place: str) -> Sequence[float]:
    """Seconds of reads of single lines, each in an archive that was just opened."""
    chance, found = random.Random(3), []
    for _ in range(LINES_READ):
        log = await ArchivedLog.open(objects_at(place))
        position = chance.randint(1, log.position)
        started = time.perf_counter()
        async for _ in log.read(position - 1, position):
            pass
        found.append(time.perf_counter() - started)
    return found


def measure(data: Path, place: str) -> None:
    """Print the rows of one archive."""
    row("first run", data, "log", "archive", place)
    row("nothing new", data, "log", "archive", place)
    items = [create_item(1_001, Content(f"item {number}")) for number in range(NEW_LINES)]
    written(data, *items)
    row(f"{NEW_LINES:,} new events", data, "log", "archive", place)
    row("`log verify` of the archive", data, "log", "verify", place)
    row("`log verify` of the file", data, "log", "verify")
    row("`rebuild` from the archive", data, "rebuild", "--log", place)
    row("`rebuild` from the file", data, "rebuild")
    seconds = asyncio.run(read_lines(place))
    print(
        f"one line, median of {LINES_READ}: {statistics.median(seconds) * 1e3:.2f} ms", flush=True
    )


def main() -> None:
    """Measure with the given options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--bucket", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(write(folder / "data", given.events))
        written(folder / "data", RegisterUser(profile("writer")))
        size = (folder / "data" / "events.jsonl").stat().st_size
        print(json.dumps({"events": given.events, "bytes": size}), flush=True)
        place = str(folder / "archive")
        if given.bucket:
            place = stack.enter_context(bucket(os.environ.__setitem__))
        measure(folder / "data", place)


if __name__ == "__main__":
    main()
