"""Measure the same requests, and replay, verification and snapshots, over growing logs.

    python -m benchmarks.growth [--items N,...] [--users N,...] [--kinds] [--whole N] [--folder DIR]
                                [--quick] [--minutes N] [--keep]

The log's own code writes the logs. First each log is folded, verified and stored as a snapshot, as
in `benchmarks.replay`. Then servers start from the snapshots, one at a time on one core with wrk on
the other, and get the same requests over 32 connections, creates over 64. Each list has another
filter, because the same one would come from the cache of pages. Sizes take turns within a
round. Up to `COPIED` items a server works over a copy, because the items that a round creates would
change the size; larger logs are used without a copy. Servers take no snapshots, because the one
with the most items would take the longest, and close no segments. Requests are measured when the
chain is checked.

With ``--kinds``, the items are rows of the ten declared kinds of `benchmarks.ten_kinds`, and the log
has ten events a row: the largest has 10,000,000 and takes the better part of an hour. With
``--folder``, logs stay there, and those that are there are measured again, unless requests have
changed them.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import goals, report
from benchmarks.client import Client, wait_until_checked
from benchmarks.http import Bench
from benchmarks.machine import command_line_of_part, context, progress, rounds_within, two_cores
from benchmarks.process import ServerError
from benchmarks.replay import measure_in_process
from benchmarks.results import Growth, Kinds, Measured, Results, Size, keep, place
from benchmarks.rung import UNLIMITED, find_rung
from benchmarks.sample_data import LISTED
from benchmarks.sample_kinds import MODULE, write_rows
from benchmarks.sample_log import prepare_log, write_items
from benchmarks.usage import cpu_seconds, memory
from benchmarks.workload import (
    CREATE,
    FILTERS,
    LIST_DIFFERENTLY,
    READ,
    READER,
    UPDATE,
    Request,
    Target,
    Workload,
)
from benchmarks.wrk import LoadError

ITEMS = (1_000, 100_000, 1_000_000)
USERS = (1_000, 10_000)
QUICK_ITEMS = ITEMS[:2]
QUICK_USERS = USERS[:1]
ROWS_OF_KINDS = (1_000, 1_000_000)
EVENTS_A_ROW = 10
WHOLE_ROUNDS = 3
MAX_ITEMS_COPIED = 200_000
"""The most items of a log of which each server gets a copy."""

WORKLOADS = ((READ, 32), (LIST_DIFFERENTLY, 32), (UPDATE, 32), (CREATE, 64))

CONTRACTS = "/api/v2/contracts"
CONTRACT = {
    "title": "Service the bicycle",
    "text": "Brakes, chain, and the rear light.",
    "cents": 1,
}


def list_filtered(path: str) -> list[Request]:
    """List the same rows with another filter each time."""
    return [Request("GET", f"{path}?limit=100&title.ne={number}") for number in range(FILTERS)]


WORKLOADS_OF_KINDS = (
    (Workload("read", "", lambda _: [Request("GET", f"{CONTRACTS}/{len(LISTED) // 2}")]), 32),
    (Workload("list", "", lambda _: list_filtered(CONTRACTS)), 32),
    (Workload("list-all", "", lambda _: list_filtered("/api/v2/announcements")), 32),
    (
        Workload(
            "update",
            "",
            lambda _: [
                Request("PUT", f"{CONTRACTS}/{number}", {**CONTRACT, "cents": cents})
                for cents in (1, 2)
                for number in range(1, len(LISTED) + 1)
            ],
        ),
        32,
    ),
    (Workload("create", "", lambda _: [Request("POST", CONTRACTS, CONTRACT)]), 64),
)
"""Over rows of the reader, and for ``list-all`` over those of all users."""


async def write_kinds(users: int, rows: int, folder: Path) -> None:
    """Write the log of some rows of declared kinds."""
    await write_rows(folder, users, rows, EVENTS_A_ROW * rows)


async def write_log_of_items(users: int, items: int, folder: Path) -> None:
    """Write the log of some items."""
    await write_items(folder, users, items)


@dataclass(frozen=True)
class Content:
    """What the logs have, and the requests over it."""

    write: Callable[[int, int, Path], Coroutine[Any, Any, None]]
    """Writes a log of some users and rows in a folder."""
    events: Callable[[int, int], int]
    """The number of its events."""
    workloads: Sequence[tuple[Workload, int]]
    resources: Sequence[str] = ()
    """The modules of the declared kinds."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of the servers."""
        ours = {"EVENTAPI_SNAPSHOT_EVERY": "0", "EVENTAPI_SEGMENT_BYTES": "0"}
        return {**UNLIMITED, **ours, "EVENTAPI_RESOURCES": ",".join(self.resources)}


OF_ITEMS = Content(write_log_of_items, lambda users, items: users + items, WORKLOADS)
OF_KINDS = Content(write_kinds, lambda _, rows: EVENTS_A_ROW * rows, WORKLOADS_OF_KINDS, [MODULE])


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    content: Content
    users: Sequence[int]
    items: Sequence[int]
    whole: int
    folder: Path | None
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
        part = Kinds if options.content is OF_KINDS else Growth
        self.part = part(context(scratch, options.seconds))
        self._options = options
        self._content = options.content
        self._server = replace(find_rung("eventapi"), environment=options.content.environment)
        self._bench = Bench(scratch, cores, options.seconds)
        self._ends = time.monotonic() + options.minutes * 60

    def run(self) -> None:
        """Measure everything; store the figures after each round."""
        for users in self._options.users:
            for items in self._options.items:
                size = Size(users, items, 0)
                log = prepare_log(
                    self._folder(size) / "data",
                    self._content.events(users, items),
                    partial(self._content.write, users, items),
                )
                size.log = log.stat().st_size
                self.part.sizes.append(size)
        for number in range(1, self._options.whole + 1):
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
        return (self._options.folder or self._bench.scratch) / f"{size.users}-{size.items}"

    def _fold(self, size: Size, number: int) -> None:
        try:
            data = self._folder(size) / "data"
            whole = measure_in_process(data, self._bench.cores[0], *self._content.resources)
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
            self._server.running(folder, self._bench.cores) as server,
            Client(server.base_url) as client,
        ):
            place(size.start, number, cpu_seconds(server.pid))
            wait_until_checked(client.http)
            token = client.login(READER)
            target = Target(READER, token, client.item_ids(token))
            place(size.memory, number, memory(server.pid))
            self._bench.warm_up(server, target, self._content.workloads[0][0])
            for workload, connections in self._content.workloads:
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
    parser.add_argument("--kinds", action="store_true", help="rows of declared kinds: long")
    parser.add_argument("--whole", type=int, metavar="N", help="rounds of work on the whole log")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of the logs, which stay there")
    arguments = parser.parse_args()
    items = ROWS_OF_KINDS if arguments.kinds else QUICK_ITEMS if arguments.quick else ITEMS
    rounds = arguments.rounds or (2 if arguments.quick else 4)
    most = 1 if arguments.kinds else WHOLE_ROUNDS
    return Options(
        OF_KINDS if arguments.kinds else OF_ITEMS,
        arguments.users or (QUICK_USERS if arguments.quick or arguments.kinds else USERS),
        arguments.items or items,
        min(most, rounds) if arguments.whole is None else arguments.whole,
        arguments.folder,
        rounds,
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
    sys.exit(0 if options.content is OF_KINDS else goals.judge(Results(growth=sizes.part)))


if __name__ == "__main__":
    main()
