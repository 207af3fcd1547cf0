"""Fail-overs of PostgreSQL under a load, and the check of all operations."""

from __future__ import annotations

import asyncio
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.deployment.production.incidents import Incident, effects
from tests.end_to_end.history import Operation, Outcome
from tests.end_to_end.linearizability import Verdict, judge
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import ROOT, Server, by_serve
from tests.end_to_end.workload import Load, Workload
from tests.fault_injection.crashes.retrying import RetryingClient, RetryTotals
from tests.fault_injection.failover.load import (
    FailoverWorkload,
    ServerLog,
    no_log,
    wait_for,
    wait_for_each,
)
from tests.servers.replication import Pair

WORKERS = 4
UNKNOWN = -1
"""Used as worker id of writes of which the server reports that their outcome is unknown."""

UNDISTURBED_SECONDS = 0.5
"""How long the load runs before each incident."""

FAILED_OVER, RETURNED = "failed over", "lost events, refused, and the primary returned"


class Plan(msgspec.Struct, frozen=True):
    """How often the standby takes over, and how often it is refused because it lost events.

    Of the ``clients``, a quarter sends every write with an Idempotency-Key until it is answered. No
    incident begins after ``seconds``, unless that is 0.
    """

    times: int = 50
    refusals: int = 10
    clients: int = 64
    workers: int = WORKERS
    seed: int = 1
    seconds: float = 0


class Report(msgspec.Struct):
    """The verdict; ``gaps`` are seconds without an acknowledged write, by kind of incident."""

    verdict: Verdict
    gaps: dict[str, list[float]]
    refusals: int
    unknown: int
    retried: int
    repeats: int
    lines: int
    tracebacks: list[str]

    def __str__(self) -> str:
        rows = [
            ("lines in the log", f"{self.lines:,}"),
            ("writes of clients that retry", f"{self.retried:,}"),
            ("their repeated requests", f"{self.repeats:,}"),
            ("refusals of a worker, with the positions", f"{self.refusals:,}"),
            ("commits of unknown outcome", f"{self.unknown:,}"),
            ("tracebacks", f"{len(self.tracebacks):,}"),
        ]
        for name, gaps in self.gaps.items():
            median, most = statistics.median(gaps), max(gaps)
            rows.append((name, f"{len(gaps)} times"))
            rows.append(("  seconds without a write", f"median {median:.2f}, maximum {most:.2f}"))
        figures = (f"{name:<48}{what}" for name, what in rows)
        return "\n".join((str(self.verdict), *figures, *self.tracebacks[:3]))


class Incidents:
    """Runs the incidents of a plan in sequence, in a thread beside the load."""

    def __init__(self, pair: Pair, server: Server, plan: Plan) -> None:
        self.pair = pair
        self.server = server
        self._plan = plan
        self.happened: list[Incident] = []
        self.log = ServerLog(server.output_path)

    def run(self, workload: Workload) -> None:
        """Run all incidents; each ends when every worker has written again."""
        assert isinstance(workload, FailoverWorkload)
        left = {FAILED_OVER: self._plan.times, RETURNED: self._plan.refusals}
        deadline = time.monotonic() + (self._plan.seconds or math.inf)
        while any(left.values()):
            for name, act in ((FAILED_OVER, self.fail_over), (RETURNED, self._be_refused)):
                if time.monotonic() > deadline:
                    return
                if left[name]:
                    left[name] -= 1
                    act(workload)

    def fail_over(self, workload: FailoverWorkload) -> None:
        """Kill the primary, and promote its synchronous standby."""
        self.pair.replicate_synchronously()
        time.sleep(UNDISTURBED_SECONDS)
        self.begin(FAILED_OVER)
        self.pair.fail_over()
        self.end(workload)

    def _be_refused(self, workload: FailoverWorkload) -> None:
        """Promote a standby that lacks events, and start the right primary beside it."""
        pair = self.pair
        pair.standby.stop()
        # Not by answers: those that arrive now may be of writes that the standby has.
        position = self._position()
        wait_for(lambda: self._position() > position)
        self.begin(RETURNED)
        pair.primary.kill()
        pair.standby.start()
        pair.promote()
        refusals = self._plan.workers * sum(one.name == RETURNED for one in self.happened)
        wait_for(lambda: self._refusals() >= refusals)
        pair.standby.start()
        pair.primary, pair.standby = pair.standby, pair.primary
        self.end(workload)

    def _position(self) -> int:
        return int(self.pair.primary.sql("SELECT position FROM eventapi_head", "eventapi"))

    def _refusals(self) -> int:
        self.log.read()
        return self.log.refusals

    def begin(self, name: str) -> None:
        """Begin an incident."""
        self.happened.append(Incident(name, time.monotonic_ns()))

    def wait_for_writes(self, workload: FailoverWorkload) -> None:
        """Wait until every worker has written once more."""
        wait_for_each(workload.written, self.server.worker_pids)

    def end(self, workload: FailoverWorkload) -> None:
        """Wait until the writes go on; then replace the server that is not the primary."""
        self.wait_for_writes(workload)
        self.happened[-1].end = time.monotonic_ns()
        self.pair.rebuild_standby()


def run(folder: Path, plan: Plan, kind: type[Incidents] = Incidents) -> Report:
    """Run a plan on a new pair and a new server, and judge all operations."""
    with Pair() as pair:
        settings = {
            "EVENTAPI_LOG": f"{pair.url}?target_session_attrs=read-write",
            "EVENTAPI_LOG_FORMAT": "json",
        }
        with Server(folder / "data", plan.workers, by_serve, settings) as server:
            incidents = kind(pair, server, plan)
            ran = asyncio.run(under_load(folder, [server.port], incidents.run, plan))
        return report_of(folder, pair.url, ran, incidents.happened, [incidents.log])


def report_of(
    folder: Path,
    url: str,
    ran: tuple[list[Operation], RetryTotals],
    happened: Sequence[Incident],
    logs: Sequence[ServerLog],
) -> Report:
    """Judge all operations against the log at a URL; ``logs`` are those of the servers."""
    operations, retried = ran
    for log in logs:
        log.read()
    unknown = {name for log in logs for name in log.unknown}
    for operation in operations:
        if operation.status == 503 and operation.requestid in unknown:
            operation.outcome, operation.worker = Outcome.UNKNOWN, UNKNOWN
    verdict, lines = _judge(folder, url, operations)
    gaps: dict[str, list[float]] = {}
    for effect in effects(happened, operations):
        gaps.setdefault(effect.name, []).append(effect.pause)
    return Report(
        verdict,
        gaps,
        sum(log.refusals for log in logs),
        len(unknown),
        len(retried.operations),
        retried.repeats,
        lines,
        [traceback for log in logs for traceback in log.tracebacks],
    )


async def under_load(
    folder: Path, ports: Sequence[int], during: Callable[[Workload], None], plan: Plan
) -> tuple[list[Operation], RetryTotals]:
    """Run the load and the incidents; return all operations.

    ``plan.workers`` is the total over all servers.
    """
    retrying = plan.clients // 4
    load = Load(
        ports,
        no_log(folder),
        plan.workers,
        plan.clients - retrying,
        seconds=1.0,
        seed=plan.seed,
    )
    workload, retried, over = FailoverWorkload(load), RetryTotals(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(retrying):
            name = f"retrying{number}-{plan.seed}"
            client = RetryingClient(name, load, await workload.create_account(name), retried)
            group.create_task(client.run(over.is_set))
        try:
            ran = await workload.run(during)
        finally:
            over.set()
    for operation in retried.operations:
        operation.log_size = sys.maxsize
    return [*ran.operations, *retried.operations], retried


def _judge(folder: Path, url: str, operations: Sequence[Operation]) -> tuple[Verdict, int]:
    """Check the responses against a copy of the log; return also the number of lines."""
    copy, data = folder / "copy.jsonl", folder / "data-of-copy"
    data.mkdir()
    arguments = ["log", "copy", str(copy), "--vault", str(folder / "vault.sqlite"), "--log", url]
    program = [sys.executable, "-m", "eventapi", *arguments, "--data", str(data)]
    subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    log = read_log(copy)
    names = {
        line.personal["username"]: line.subject
        for line in log.lines
        if line.type == "user.registered"
    }
    for operation in operations:
        operation.owner = names[operation.owner]
    verdict = judge(operations, log, {UNKNOWN}, {503}, requested_positions=True)
    return verdict, len(log.lines)
