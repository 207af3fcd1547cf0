"""Measure the same requests, and replay, verification and snapshots, over growing logs.

    python -m benchmarks.growth [--items N,...] [--users N,...] [--quick] [--minutes N] [--keep]

The log's own code writes the logs. First each log is folded, verified and stored as a snapshot, as
in `benchmarks.replay`. Then servers start from the snapshots, one at a time on one core with wrk on
the other, and get the same requests over 32 connections, creates over 64. Each list has another
filter, because the same one would come from the cache of pages. Sizes take turns within a round. Up
to `COPIED` items a server works over a copy, because the items that a round creates would change
the size; larger logs are used without a copy. Servers take no snapshots, because the one with the
most items would take the longest.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import goals, report
from benchmarks.client import Client
from benchmarks.http import Bench
from benchmarks.machine import command_line_of_part, context, progress, rounds_within, two_cores
from benchmarks.process import ServerError
from benchmarks.replay import measure_in_process
from benchmarks.results import Growth, Measured, Results, Size, keep, place
from benchmarks.rung import UNLIMITED, find_rung
from benchmarks.sample_log import write_items
from benchmarks.usage import memory
from benchmarks.workload import CREATE, LIST_DIFFERENTLY, READ, READER, UPDATE, Target
from benchmarks.wrk import LoadError

ITEMS = (1_000, 100_000, 1_000_000)
USERS = (1_000, 10_000)
QUICK_ITEMS = ITEMS[:2]
QUICK_USERS = USERS[:1]
WHOLE_ROUNDS = 3
MAX_ITEMS_COPIED = 200_000
"""The most items of a log of which each server gets a copy."""

WORKLOADS = ((READ, 32), (LIST_DIFFERENTLY, 32), (UPDATE, 32), (CREATE, 64))
SERVER = replace(find_rung("eventapi"), environment={**UNLIMITED, "EVENTAPI_SNAPSHOT_EVERY": "0"})


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    users: Sequence[int]
    items: Sequence[int]
    rounds: int
    seconds: int
    minutes: float
    keep: bool


def numbers(text: str) -> list[int]:
    """The numbers in a list with commas."""
    return sorted({int(number) for number in text.split(",")})


class Sizes:
    """Measures the part, with a folder for each size."""

    def __init__(self, options: Options, scratch: Path, cores: tuple[int, int]) -> None:
        self.part = Growth(context(scratch, options.seconds))
        self._options = options
        self._bench = Bench(scratch, cores, options.seconds)
        self._ends = time.monotonic() + options.minutes * 60

    def run(self) -> None:
        """Measure everything; store the figures after each round."""
        for users in self._options.users:
            for items in self._options.items:
                progress(f"writing {items:,} items of {users:,} users")
                data = self._bench.scratch / f"{users}-{items}" / "data"
                asyncio.run(write_items(data, users, items))
                length = (data / "events.jsonl").stat().st_size
                self.part.sizes.append(Size(users, items, length))
        for number in range(1, min(WHOLE_ROUNDS, self._options.rounds) + 1):
            for size in self.part.sizes:
                self._fold(size, number)
            self._keep()
        left = (self._ends - time.monotonic()) / 60
        for number in rounds_within(self._options.rounds, left):
            for size in self.part.sizes:
                self._serve(size, number)
            self.part.context.rounds = number
            self._keep()

    def _keep(self) -> None:
        if self._options.keep:
            keep(self.part)

    def _folder(self, size: Size) -> Path:
        return self._bench.scratch / f"{size.users}-{size.items}"

    def _fold(self, size: Size, number: int) -> None:
        try:
            whole = measure_in_process(self._folder(size) / "data", self._bench.cores[0])
        except subprocess.SubprocessError as error:
            progress(f"round {number}: {report.name_of(size)} is void: {error}")
            self.part.failures.append(f"{report.name_of(size)}, folded in round {number}")
        else:
            progress(f"round {number}: {report.name_of(size)}: replay {whole.replay:.2f} s")
            size.whole.append(whole)

    def _serve(self, size: Size, number: int) -> None:
        folder = self._folder(size)
        if size.items <= MAX_ITEMS_COPIED:
            folder = self._bench.scratch / "copy"
            shutil.copytree(self._folder(size), folder)
        try:
            for key, figures in self._run_workloads(folder, size, number):
                place(size.requests.setdefault(key, []), number, figures)
                if figures is None:
                    self.part.failures.append(f"{report.name_of(size)}, {key}, round {number}")
        except ServerError as error:
            progress(f"round {number}: {report.name_of(size)} is void: {error}")
            self.part.failures.append(f"{report.name_of(size)}, round {number}")
        finally:
            if size.items <= MAX_ITEMS_COPIED:
                shutil.rmtree(folder, ignore_errors=True)

    def _run_workloads(
        self, folder: Path, size: Size, number: int
    ) -> Iterator[tuple[str, Measured | None]]:
        """Yield each workload and its figures, or None if requests failed."""
        with (
            SERVER.running(folder, self._bench.cores) as server,
            Client(server.base_url) as client,
        ):
            token = client.login(READER)
            target = Target(READER, token, client.item_ids(token))
            place(size.memory, number, memory(server.pid))
            self._bench.warm_up(server, target)
            for workload, connections in WORKLOADS:
                key = f"{workload.name} {connections}"
                try:
                    figures = self._bench.measure(server, workload, target, connections)
                except LoadError as error:
                    progress(f"round {number}: {report.name_of(size)}, {key} is void: {error}")
                    yield key, None
                else:
                    progress(f"round {number}: {report.name_of(size)}, {key}: {figures.cpu:.1f} µs")
                    yield key, figures


def parse() -> Options:
    """Read the command line."""
    parser = command_line_of_part("growth", __doc__, minutes=8)
    parser.add_argument("--seconds", type=int, metavar="N", help="of each measurement")
    parser.add_argument("--items", type=numbers, metavar="N,...")
    parser.add_argument("--users", type=numbers, metavar="N,...")
    arguments = parser.parse_args()
    return Options(
        arguments.users or (QUICK_USERS if arguments.quick else USERS),
        arguments.items or (QUICK_ITEMS if arguments.quick else ITEMS),
        arguments.rounds or (2 if arguments.quick else 4),
        arguments.seconds or (1 if arguments.quick else 2),
        arguments.minutes,
        arguments.keep,
    )


def main() -> None:
    """Measure with the options of the command line, print the tables, and check the goals."""
    options = parse()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        sizes = Sizes(options, Path(scratch), cores)
        sizes.run()
    print("\n\n".join(table.text() for table in report.growth(sizes.part)))
    sys.exit(goals.judge(Results(growth=sizes.part)))


if __name__ == "__main__":
    main()
