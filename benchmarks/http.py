"""Measure the ladder of servers under every workload.

    python -m benchmarks.http [--quick] [--all] [--only RUNG,...] [--workloads NAME,...]

One server runs at a time, on one core. wrk and the server's database, if any, run on the other;
two workers use both cores. In a round every server starts once over new data, is filled over HTTP
with the same users and items, and gets every workload in turn, first those that read, then those
that write. Rounds are interleaved: every rung once, then every rung again. Any error, including an
answer of status 400 or above, makes a measurement void, and the run reports it.

Most workloads run over 32 connections in every round, and over 1 and 128 in every third one; with
``--all`` all workloads run over all of them in every round. TMPDIR selects the disk of all data.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import goals, report
from benchmarks.client import Client, UnexpectedAnswerError, bearer
from benchmarks.machine import (
    command_line_of_part,
    context,
    parse_names,
    progress,
    rounds_within,
    two_cores,
)
from benchmarks.process import Server, ServerError
from benchmarks.results import Http, Measured, Results, keep, place
from benchmarks.rung import ONLY_IF_NAMED, RUNGS, Rung, start_services
from benchmarks.usage import cpu_seconds, memory, settle
from benchmarks.workload import (
    LOGIN,
    READ,
    STATELESS_TARGET,
    WORKLOADS,
    Target,
    Workload,
    fill_server,
)
from benchmarks.wrk import LoadError, load, script
from tests.servers.service import Service

WARM_UP_SECONDS = 1
EVERY_CONNECTIONS = (1, 32, 64, 128)


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    rungs: Sequence[Rung]
    workloads: Sequence[Workload]
    rounds: int
    seconds: int
    minutes: float
    whole: bool
    """Measure everything in every round."""

    quick: bool
    """Leave out the rarer numbers of connections."""

    keep: bool


@dataclass(frozen=True)
class Bench:
    """The place of measurements: the server's core, the load's core, and a folder on the disk."""

    scratch: Path
    cores: tuple[int, int]
    seconds: int

    def measure(
        self,
        server: Server,
        workload: Workload,
        target: Target,
        connections: int,
        database: Service | None = None,
        *,
        finish: Callable[[], object] = lambda: None,
    ) -> Measured:
        """Run one workload on a running server; raises `LoadError`.

        ``finish`` waits for what the requests left to be done, whose CPU is counted as well.
        """
        script_file = self.scratch / "load.lua"
        script_file.write_text(script(workload.requests(target), target.token))
        processes = [server.pid, *([database.pid] if database else [])]
        settle(server.pid)
        before = [cpu_seconds(process) for process in processes]
        figures = load(
            server.base_url,
            script_file,
            connections=connections,
            seconds=self.seconds,
            core=self.cores[1],
        )
        finish()
        used = [cpu_seconds(process) - was for process, was in zip(processes, before, strict=True)]
        cpu, *of_database = [seconds / figures.requests * 1e6 for seconds in used]
        return Measured(
            requests=figures.requests,
            rate=figures.rate,
            p50=figures.p50,
            p99=figures.p99,
            p999=figures.p999,
            cpu=cpu,
            memory=memory(server.pid),
            database_cpu=of_database[0] if of_database else 0.0,
        )

    def warm_up(self, server: Server, target: Target, read: Workload = READ) -> None:
        """Run reads without measuring; filling the server has warmed up writes."""
        Bench(self.scratch, self.cores, WARM_UP_SECONDS).measure(server, read, target, 32)


def check_answers(client: Client, workload: Workload, target: Target) -> None:
    """Send each request of a workload once, because wrk accepts redirects."""
    for request in {each.path: each for each in workload.requests(target)}.values():
        answer = client.http.request(
            request.method, request.path, json=request.body, headers=bearer(target.token)
        )
        if not answer.is_success:
            raise UnexpectedAnswerError(
                f"{request.method} {request.path}: {answer.status_code} {answer.text[:500]}"
            )


def connections_of(workload: Workload, number: int, options: Options) -> Sequence[int]:
    """Return the numbers of connections of a workload in a round; rounds count from 1."""
    if options.whole:
        return workload.rarer if workload is LOGIN else EVERY_CONNECTIONS
    has_rarer = number % 3 == 1 and not options.quick
    return sorted((*workload.connections, *(workload.rarer if has_rarer else ())))


def measure_rung(
    bench: Bench, rung: Rung, database: Service | None, options: Options, number: int
) -> Iterator[tuple[str, Measured | None]]:
    """Measure one round of a rung: yield each workload and its figures, or None if requests failed."""
    folder = bench.scratch / f"{rung.name}-{number}"
    workloads = [each for each in options.workloads if each.name not in rung.without]
    try:
        with (
            rung.running(folder, bench.cores, database) as server,
            Client(server.base_url) as client,
        ):
            target = fill_server(client) if rung.stateful else STATELESS_TARGET
            bench.warm_up(server, target)
            for workload in workloads:
                every = connections_of(workload, number, options)
                if every:
                    check_answers(client, workload, target)
                for connections in every:
                    key = f"{workload.name} {connections}"
                    try:
                        figures = bench.measure(server, workload, target, connections, database)
                    except LoadError as error:
                        progress(f"round {number}: {rung.name}, {key} is void: {error}")
                        yield key, None
                    else:
                        progress(f"round {number}: {rung.name}, {key}: {figures.rate:.0f}/s")
                        yield key, figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(options: Options, scratch: Path, cores: tuple[int, int]) -> Http:
    """Measure everything in interleaved rounds; store the figures after each round."""
    part = Http(context(scratch, options.seconds))
    bench = Bench(scratch, cores, options.seconds)
    with ExitStack() as stack:
        up = start_services((rung.database for rung in options.rungs if rung.database), stack)
        rungs = [rung for rung in options.rungs if rung.database is None or rung.database in up]
        for number in rounds_within(options.rounds, options.minutes):
            for rung in rungs:
                database = up[rung.database] if rung.database else None
                try:
                    for key, figures in measure_rung(bench, rung, database, options, number):
                        rounds = part.figures.setdefault(key, {}).setdefault(rung.name, [])
                        place(rounds, number, figures)
                        if figures is None:
                            part.failures.append(f"{rung.name}, {key}, round {number}")
                except (ServerError, RuntimeError) as error:  # RuntimeError comes from a database.
                    progress(f"round {number}: {rung.name} is void: {error}")
                    part.failures.append(f"{rung.name}, round {number}")
            part.context.rounds = number
            if options.keep:
                keep(part)
    return part


def parse() -> Options:
    """Read the command line."""
    parser = command_line_of_part("http", __doc__, minutes=23)
    names = [rung.name for rung in RUNGS]
    parser.add_argument("--seconds", type=int, metavar="N", help="of each measurement")
    parser.add_argument("--only", type=lambda text: parse_names(text, names), metavar="RUNG,...")
    parser.add_argument(
        "--workloads",
        type=lambda text: parse_names(text, [workload.name for workload in WORKLOADS]),
        metavar="NAME,...",
    )
    parser.add_argument("--all", action="store_true", help="all connections in all rounds: long")
    arguments = parser.parse_args()
    return Options(
        [each for each in RUNGS if each.name in (arguments.only or set(names) - ONLY_IF_NAMED)],
        [
            each
            for each in WORKLOADS
            if arguments.workloads is None or each.name in arguments.workloads
        ],
        arguments.rounds or (2 if arguments.quick else 5),
        arguments.seconds or (1 if arguments.quick else 2),
        arguments.minutes,
        arguments.all,
        arguments.quick,
        arguments.keep,
    )


def main() -> None:
    """Measure with the options of the command line, print the tables, and check the goals."""
    options = parse()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        part = run(options, Path(scratch), cores)
    print("\n\n".join(table.text() for table in report.http(part)))
    sys.exit(goals.judge(Results(http=part)))


if __name__ == "__main__":
    main()
