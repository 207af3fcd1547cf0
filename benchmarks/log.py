"""Measure the log alone, without HTTP: durable appends by 64 producers, through several writers.

    python -m benchmarks.log [--rounds N] [--seconds N] [--quick] [--minutes N] [--keep]

Every measurement is a separate process on one core; the server that a writer needs is on the
other. Rounds are interleaved, and all data is on the same disk, which TMPDIR selects. Our writer is
first in each round, because others write the lines and batches that it wrote.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import goals, report
from benchmarks.machine import command_line_of_part, context, progress, rounds_within, two_cores
from benchmarks.results import Appended, Log, Results, keep, place
from benchmarks.rung import start_services
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import Service
from tests.servers.valkey import Valkey

END_SECONDS = 120  # for a writer to end after its time is over


@dataclass(frozen=True)
class Row:
    """A writer, its description in one line, and its server."""

    about: str
    service: type[Service] | None = None


ROWS: Mapping[str, Row] = {
    "eventapi": Row(
        "the JSON-lines log through its journal (group commit): each command decided, its personal "
        "values sealed, its line chained, written and synced, then applied to the state",
    ),
    "raw": Row(
        "the bytes and batches of `eventapi`, prepared beforehand: one write and one fdatasync for "
        "each. The disk's limit",
    ),
    "append": Row(
        "the same bytes and batches through the log's own append: lock, write, fdatasync, mark",
    ),
    "valkey": Row(
        "Valkey with appendfsync always, a stream of the same lines (XADD), 64 connections of "
        "redis-py with hiredis in one process; the server syncs all requests that arrived in the "
        "meantime at once. Neither sealed nor chained, and the client is in Python",
        Valkey,
    ),
    "eventsourcing-sqlite": Row(
        "the library eventsourcing on SQLite, with the library's settings (WAL; synchronous is FULL): "
        "64 threads, one event of a new aggregate per transaction. Not encrypted",
    ),
    "eventsourcing-postgresql": Row(
        "the same on PostgreSQL with default settings (fsync and synchronous_commit on), psycopg in C, "
        "the library's pool of 5 to 15 connections and its lock on the table, which keeps positions "
        "in order",
        PostgreSQL,
    ),
}


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    rounds: int
    seconds: int
    minutes: float
    keep: bool


def measure(name: str, folder: Path, seconds: int, core: int, service: Service | None) -> Appended:
    """Run one writer in a separate process; raises `subprocess.SubprocessError`."""
    url = ""
    if isinstance(service, PostgreSQL):
        url = service.new_database()
    elif service is not None:
        url = service.url
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.log"]
    command += ["--write", name, "--folder", str(folder), "--seconds", str(seconds), "--url", url]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, timeout=seconds + END_SECONDS
    )
    return msgspec.json.decode(done.stdout, type=Appended)


def run(options: Options, scratch: Path, core: int) -> Log:
    """Measure everything in interleaved rounds; store the figures after each round."""
    part = Log(context(scratch, options.seconds))
    with ExitStack() as stack:
        up = start_services((row.service for row in ROWS.values() if row.service), stack)
        for number in rounds_within(options.rounds, options.minutes):
            folder = scratch / str(number)
            folder.mkdir()
            for name, row in ROWS.items():
                if row.service is not None and row.service not in up:
                    continue
                figures = None
                try:
                    service = up[row.service] if row.service else None
                    figures = measure(name, folder, options.seconds, core, service)
                # RuntimeError comes from a database.
                except (subprocess.SubprocessError, msgspec.DecodeError, RuntimeError) as error:
                    progress(f"round {number}: {name} is void: {error}")
                    part.failures.append(f"{name}, round {number}")
                else:
                    progress(f"round {number}: {name}: {figures.rate:.0f}/s")
                place(part.figures.setdefault(name, []), number, figures)
            shutil.rmtree(folder, ignore_errors=True)
            part.context.rounds = number
            if options.keep:
                keep(part)
    return part


def main() -> None:
    """Measure with the options of the command line, print the table, and check the goals."""
    parser = command_line_of_part("log", __doc__, minutes=4)
    parser.add_argument("--seconds", type=int, metavar="N", help="of each measurement")
    alone = parser.add_argument_group("one measurement in this process")
    alone.add_argument("--write", choices=ROWS, metavar="WRITER")
    alone.add_argument("--folder", type=Path, metavar="DIR")
    alone.add_argument("--url", default="", help="of the writer's server")
    told = parser.parse_args()
    seconds = told.seconds or (1 if told.quick else 2)
    if told.write:
        from benchmarks.writers import WRITERS  # noqa: PLC0415 - not installed for the page

        figures = WRITERS[told.write](told.folder, seconds, told.url)
        sys.stdout.buffer.write(msgspec.json.encode(figures))
        return
    core, _ = two_cores()
    rounds = told.rounds or (2 if told.quick else 5)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        part = run(Options(rounds, seconds, told.minutes, told.keep), Path(scratch), core)
    print(report.log(part).text())
    sys.exit(goals.judge(Results(log=part)))


if __name__ == "__main__":
    main()
