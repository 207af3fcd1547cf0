"""Check linearizability of a real server under load, optionally killing a worker.

    python -m tests.end_to_end.workers --seconds 30 --workers 4 --clients 64 --kill

The command starts servers over one data directory, runs a random load against them, stops them and
compares every answer with the log (see `tests.end_to_end.linearizability`). The exit code is 1 if
a violation is found.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import quantiles

import msgspec

from tests.end_to_end.history import READS, Operation, Outcome
from tests.end_to_end.linearizability import Verdict, judge
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn
from tests.end_to_end.workload import Load, LoadResult, Workload
from tests.fault_injection.machine import describe_machine


class Trial(msgspec.Struct):
    """The result of a load on servers over one log, and the verdict."""

    result: LoadResult
    verdict: Verdict
    lines: int
    killed: set[int]

    def __str__(self) -> str:
        spread = ", ".join(f"{pid}: {count}" for pid, count in self.result.connections.items())
        rate = self.verdict.counts["operations"] / self.result.seconds
        lines = [
            str(self.verdict),
            f"{'lines in the log':<36}{self.lines:>10,}",
            f"{'operations a second':<36}{rate:>10,.0f}",
            f"connections by worker: {spread}",
            f"killed: {self.killed or 'none'}",
            *_latencies(self.result.operations),
        ]
        return "\n".join(lines)


def run_trial(
    servers: Sequence[Server],
    load: Load,
    *,
    kill: bool = False,
    forgiven: Iterable[int] = (),
    during: Callable[[Workload], None] = lambda _: None,
) -> Trial:
    """Run a load on running servers, stop them and judge the result.

    With ``kill``, the worker with the most connections is killed half-way. Connections to the
    workers in ``forgiven`` may break too. ``during`` runs half-way, in a thread.
    """
    killed: set[int] = set()

    def half_way(workload: Workload) -> None:
        if kill:
            ((victim, _),) = workload.result.connections.most_common(1)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        during(workload)

    ran = asyncio.run(Workload(load).run(half_way))
    for server in servers:
        code = server.stop()
        if code != 0:
            raise RuntimeError(f"the server exited with code {code}:\n{server.output}")
    log = read_log(load.log)
    return Trial(ran, judge(ran.operations, log, killed.union(forgiven)), len(log.lines), killed)


def _latencies(operations: Iterable[Operation]) -> list[str]:
    """Lines with the latencies of reads and writes, in milliseconds."""
    found = []
    answered = [operation for operation in operations if operation.outcome is Outcome.ANSWERED]
    for name, reads in (("reads", True), ("writes", False)):
        times = [
            (operation.end - operation.start) / 1e6
            for operation in answered
            if (operation.kind in READS) is reads
        ]
        if len(times) > 1:
            cuts = quantiles(times, n=100)
            shown = (("p50", cuts[49]), ("p99", cuts[98]), ("max", max(times)))
            found += [f"{f'{name}, {of}, ms':<36}{time:>10,.1f}" for of, time in shown]
    return found


def main() -> int:
    """Run one trial and print its figures; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--servers", type=int, default=1, help="servers on one data directory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill -9 one worker half-way")
    parser.add_argument("--by", choices=["serve", "uvicorn"], default="serve")
    chosen = parser.parse_args()
    command: Command = by_serve if chosen.by == "serve" else by_uvicorn
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "data")
        servers = [Server(data, chosen.workers, command) for _ in range(chosen.servers)]
        load = Load(
            [server.port for server in servers],
            servers[0].log,
            chosen.workers * chosen.servers,
            chosen.clients,
            seconds=chosen.seconds,
            seed=chosen.seed,
        )
        trial = _run_servers(servers, load, chosen.kill)
    print(describe_machine(Path.cwd()))  # noqa: T201 - as below
    print(trial)  # noqa: T201 - the output of the command
    return 1 if trial.verdict.violations else 0


def _run_servers(servers: Sequence[Server], load: Load, kill: bool) -> Trial:
    try:
        for server in servers:
            server.__enter__()
        return run_trial(servers, load, kill=kill)
    finally:
        for server in servers:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
