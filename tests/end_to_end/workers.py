"""The long form of the check: python -m tests.end_to_end.workers --seconds 30 --workers 4 --kill."""

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

from tests.end_to_end.history import READS, Fate, Operation
from tests.end_to_end.linearizability import Verdict, judge
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn
from tests.end_to_end.workload import Load, Ran, Workload
from tests.end_to_end.written import read_log
from tests.fault_injection.machine import taken_on


class Trial(msgspec.Struct):
    """A load on servers over one log, and the verdict on it."""

    ran: Ran
    verdict: Verdict
    lines: int
    killed: set[int]

    def __str__(self) -> str:
        spread = ", ".join(f"{pid}: {count}" for pid, count in self.ran.connections.items())
        rate = self.verdict.counts["operations"] / self.ran.seconds
        lines = [
            str(self.verdict),
            f"{'lines in the log':<36}{self.lines:>10,}",
            f"{'operations a second':<36}{rate:>10,.0f}",
            f"connections by worker: {spread}",
            f"killed: {self.killed or 'nobody'}",
            *_latencies(self.ran.operations),
        ]
        return "\n".join(lines)


def try_out(
    servers: Sequence[Server],
    load: Load,
    *,
    kill: bool = False,
    forgiven: Iterable[int] = (),
    during: Callable[[Workload], None] = lambda _: None,
) -> Trial:
    """Put a load on running servers, and judge it once they have been stopped.

    With ``kill``, the worker that has the most connections is killed half-way. The connections of
    ``forgiven`` workers may break too.
    """
    killed: set[int] = set()

    def half_way(workload: Workload) -> None:
        if kill:
            ((victim, _),) = workload.ran.connections.most_common(1)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        during(workload)

    ran = asyncio.run(Workload(load).run(half_way))
    for server in servers:
        if server.stop() != 0:
            raise RuntimeError(f"the server did not end well:\n{server.output}")
    log = read_log(load.log)
    return Trial(ran, judge(ran.operations, log, killed.union(forgiven)), len(log.lines), killed)


def _latencies(operations: Iterable[Operation]) -> list[str]:
    """How long reads and writes took, in milliseconds."""
    found = []
    answered = [operation for operation in operations if operation.fate is Fate.ANSWERED]
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
    """Run one trial and print its figures; 1 where anything is wrong."""
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
        trial = _tried(servers, load, chosen.kill)
    print(taken_on(Path.cwd()))  # noqa: T201 - as below
    print(trial)  # noqa: T201 - the table is what it is for
    return 1 if trial.verdict.guilt else 0


def _tried(servers: Sequence[Server], load: Load, kill: bool) -> Trial:
    try:
        for server in servers:
            server.__enter__()
        return try_out(servers, load, kill=kill)
    finally:
        for server in servers:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
