"""Measure the ladder of servers under every workload.

    python -m benchmarks.http [--quick] [--all] [--only RUNG,...] [--workloads NAME,...]

One server runs at a time, on one core, with wrk on another, and the database that it needs is
there too; two workers have both cores. In a round every server is started once over new data,
filled over HTTP with the same users and items, and asked for every workload in turn, those that
write behind those that read. Rounds are interleaved: every rung once, then every rung again. Any
error, an answer of status 400 or above included, makes a measurement void, and the run tells.

Most is measured over 32 connections in every round, and over 1 and 128 in every third one; with
``--all`` everything is, over all of them, in every round. TMPDIR says on which disk all data lies.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import goals, report
from benchmarks.client import Client, UnexpectedAnswerError, bearer
from benchmarks.machine import (
    chosen,
    command_line_of_part,
    context,
    progress,
    rounds_within,
    two_cores,
)
from benchmarks.process import Server, ServerError
from benchmarks.results import Http, Measured, Results, keep, place
from benchmarks.rung import ASKED_FOR_ALONE, RUNGS, Rung, started
from benchmarks.usage import cpu_seconds, memory, settle
from benchmarks.workload import LOGIN, READ, STATELESS_TARGET, WORKLOADS, Target, Workload, filled
from benchmarks.wrk import LoadError, load, script
from tests.servers.service import Service

WARM_UP = 1  # seconds
EVERY_CONNECTIONS = (1, 32, 64, 128)


@dataclass(frozen=True)
class Options:
    """What to measure, and for how long."""

    rungs: Sequence[Rung]
    workloads: Sequence[Workload]
    rounds: int
    seconds: int
    minutes: float
    whole: bool
    """Everything in every round."""

    quick: bool
    """Nothing of what is rarer."""

    keep: bool


@dataclass(frozen=True)
class Bench:
    """Where measurements run: the server's core, the load's core, and a folder on the disk."""

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
    ) -> Measured:
        """One run of one workload on a server that is up; raises `LoadError`."""
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

    def warm_up(self, server: Server, target: Target) -> None:
        """Load it unmeasured; the filling has had the paths of writes run already."""
        Bench(self.scratch, self.cores, WARM_UP).measure(server, READ, target, 32)


def check_answers(client: Client, workload: Workload, target: Target) -> None:
    """Ask once for what wrk will ask for: wrk itself lets redirects pass."""
    for request in {each.path: each for each in workload.requests(target)}.values():
        answer = client.http.request(
            request.method, request.path, json=request.body, headers=bearer(target.token)
        )
        if not answer.is_success:
            raise UnexpectedAnswerError(
                f"{request.method} {request.path}: {answer.status_code} {answer.text[:500]}"
            )


def connections_of(workload: Workload, number: int, options: Options) -> Sequence[int]:
    """Over how many connections a workload is asked for in a round; the first has number 1."""
    if options.whole:
        return workload.rarer if workload is LOGIN else EVERY_CONNECTIONS
    has_rarer = number % 3 == 1 and not options.quick
    return sorted((*workload.connections, *(workload.rarer if has_rarer else ())))


def measured(
    bench: Bench, rung: Rung, database: Service | None, options: Options, number: int
) -> Iterator[tuple[str, Measured | None]]:
    """A round of one rung: what was asked for and its figures, or none where requests failed."""
    folder = bench.scratch / f"{rung.name}-{number}"
    workloads = [each for each in options.workloads if each.name not in rung.without]
    try:
        with (
            rung.running(folder, bench.cores, database) as server,
            Client(server.base_url) as client,
        ):
            target = filled(client) if rung.stateful else STATELESS_TARGET
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
    """Measure all in interleaved rounds; what there is is kept after each of them."""
    part = Http(context(scratch, options.seconds))
    bench = Bench(scratch, cores, options.seconds)
    with ExitStack() as stack:
        up = started((rung.database for rung in options.rungs if rung.database), stack)
        rungs = [rung for rung in options.rungs if rung.database is None or rung.database in up]
        for number in rounds_within(options.rounds, options.minutes):
            for rung in rungs:
                database = up[rung.database] if rung.database else None
                try:
                    for key, figures in measured(bench, rung, database, options, number):
                        rounds = part.figures.setdefault(key, {}).setdefault(rung.name, [])
                        place(rounds, number, figures)
                        if figures is None:
                            part.failures.append(f"{rung.name}, {key}, round {number}")
                except (ServerError, RuntimeError) as error:  # The latter of a database.
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
    parser.add_argument("--only", type=lambda text: chosen(text, names), metavar="RUNG,...")
    parser.add_argument(
        "--workloads",
        type=lambda text: chosen(text, [workload.name for workload in WORKLOADS]),
        metavar="NAME,...",
    )
    parser.add_argument("--all", action="store_true", help="all connections in all rounds: long")
    told = parser.parse_args()
    return Options(
        [each for each in RUNGS if each.name in (told.only or set(names) - ASKED_FOR_ALONE)],
        [each for each in WORKLOADS if told.workloads is None or each.name in told.workloads],
        told.rounds or (2 if told.quick else 5),
        told.seconds or (1 if told.quick else 2),
        told.minutes,
        told.all,
        told.quick,
        told.keep,
    )


def main() -> None:
    """Measure what the command line asks for, print it, and judge it."""
    options = parse()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        part = run(options, Path(scratch), cores)
    print("\n\n".join(table.text() for table in report.http(part)))
    sys.exit(goals.judge(Results(http=part)))


if __name__ == "__main__":
    main()
