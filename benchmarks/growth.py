"""Measure the same requests, and what is done with the whole log, over logs of growing size.

    python -m benchmarks.growth [--items N,...] [--users N,...] [--quick] [--minutes N] [--keep]

The logs are written by the log's own code. First each is folded, verified, and kept as a snapshot,
as `benchmarks.replay` does it; then servers start from the snapshots, one at a time on one core
with wrk on the other, and are asked for the same: over 32 connections, creates over 64. Sizes take
turns within a round. A server works over a copy where what is created in a round would make it
another size; over more items than that it goes on with what it had. No snapshot is taken while a
server runs, for the one over the most items would be at it for longest.
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
from benchmarks.replay import measured_apart
from benchmarks.results import Growth, Measured, Results, Size, keep, place
from benchmarks.rung import UNLIMITED, named
from benchmarks.sample_log import write_items
from benchmarks.usage import memory
from benchmarks.workload import CREATE, LIST, READ, READER, UPDATE, Target
from benchmarks.wrk import LoadError

ITEMS = (1_000, 100_000, 1_000_000)
USERS = (1_000, 10_000)
QUICK_ITEMS = ITEMS[:2]
QUICK_USERS = USERS[:1]
WHOLE_ROUNDS = 3
COPIED = 200_000
"""Items up to which a server works over a copy."""

ASKED = ((READ, 32), (LIST, 32), (UPDATE, 32), (CREATE, 64))
SERVER = replace(named("eventapi"), environment={**UNLIMITED, "EVENTAPI_SNAPSHOT_EVERY": "0"})


@dataclass(frozen=True)
class Options:
    """What of the command line a run needs."""

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
    """The part as it is measured, with a folder for each size."""

    def __init__(self, options: Options, scratch: Path, cores: tuple[int, int]) -> None:
        self.part = Growth(context(scratch, options.seconds))
        self._options = options
        self._bench = Bench(scratch, cores, options.seconds)
        self._ends = time.monotonic() + options.minutes * 60

    def run(self) -> None:
        """Measure all; what there is is kept after each round."""
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
            whole = measured_apart(self._folder(size) / "data", self._bench.cores[0])
        except subprocess.SubprocessError as error:
            progress(f"round {number}: {report.name_of(size)} is void: {error}")
            self.part.failures.append(f"{report.name_of(size)}, folded in round {number}")
        else:
            progress(f"round {number}: {report.name_of(size)}: replay {whole.replay:.2f} s")
            size.whole.append(whole)

    def _serve(self, size: Size, number: int) -> None:
        folder = self._folder(size)
        if size.items <= COPIED:
            folder = self._bench.scratch / "copy"
            shutil.copytree(self._folder(size), folder)
        try:
            for key, figures in self._requested(folder, size, number):
                place(size.requests.setdefault(key, []), number, figures)
                if figures is None:
                    self.part.failures.append(f"{report.name_of(size)}, {key}, round {number}")
        except ServerError as error:
            progress(f"round {number}: {report.name_of(size)} is void: {error}")
            self.part.failures.append(f"{report.name_of(size)}, round {number}")
        finally:
            if size.items <= COPIED:
                shutil.rmtree(folder, ignore_errors=True)

    def _requested(
        self, folder: Path, size: Size, number: int
    ) -> Iterator[tuple[str, Measured | None]]:
        """What a server was asked for, and the figures, or none where requests failed."""
        with (
            SERVER.running(folder, self._bench.cores) as server,
            Client(server.base_url) as client,
        ):
            token = client.login(READER)
            target = Target(READER, token, client.item_ids(token))
            place(size.memory, number, memory(server.pid))
            self._bench.warm_up(server, target)
            for workload, connections in ASKED:
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
    told = parser.parse_args()
    return Options(
        told.users or (QUICK_USERS if told.quick else USERS),
        told.items or (QUICK_ITEMS if told.quick else ITEMS),
        told.rounds or (2 if told.quick else 4),
        told.seconds or (1 if told.quick else 2),
        told.minutes,
        told.keep,
    )


def main() -> None:
    """Measure what the command line asks for, print it, and judge it."""
    options = parse()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        sizes = Sizes(options, Path(scratch), cores)
        sizes.run()
    print("\n\n".join(table.text() for table in report.growth(sizes.part)))
    sys.exit(goals.judge(Results(growth=sizes.part)))


if __name__ == "__main__":
    main()
