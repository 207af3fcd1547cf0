"""Kills and cuts of the nodes of a Galera cluster under a load, and the check of all operations."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from tests.deployment.production.incidents import Incident
from tests.end_to_end.client import REQUEST_SECONDS
from tests.end_to_end.history import Outcome
from tests.end_to_end.server import Command, Server, by_serve
from tests.end_to_end.workload import Workload
from tests.fault_injection.failover import campaign as failover
from tests.fault_injection.failover.campaign import UNDISTURBED_SECONDS, Report
from tests.fault_injection.failover.load import FailoverWorkload, ServerLog, wait_for_each
from tests.servers.galera import Cluster, Node
from tests.servers.replication import freeze

SECRET = "one secret for all instances of the campaign"

KILLED, CUT_OFF, FROZEN, REPLACED = (
    "a node is killed and started again",
    "a node is cut off from the others",
    "a node is stopped (SIGSTOP)",
    "a node loses its data and joins",
)


Act = Callable[[Node, Callable[[], None]], None]
"""Disturbs a node, calls the function that waits for the others, and restores the node."""


class Plan(msgspec.Struct, frozen=True):
    """How often what happens to a node; each time to the next one.

    Of the ``clients``, a quarter sends every write with an Idempotency-Key until it is answered. No
    incident begins after ``seconds``, unless that is 0.
    """

    kills: int = 12
    cuts: int = 12
    freezes: int = 4
    joins: int = 2
    clients: int = 48
    instances: int = 3
    workers: int = 1
    seed: int = 1
    seconds: float = 0


class Incidents:
    """Runs the incidents of a plan in sequence, in a thread beside the load."""

    def __init__(self, cluster: Cluster, servers: Sequence[Server], plan: Plan) -> None:
        self._cluster = cluster
        self.servers = servers
        self._plan = plan
        self._count = 0
        self.happened: list[Incident] = []

    def run(self, workload: Workload) -> None:
        """Run all incidents; each ends when every worker has written again."""
        assert isinstance(workload, FailoverWorkload)
        plan = self._plan
        acts: list[tuple[str, int, Act]] = [
            (KILLED, plan.kills, _kill),
            (CUT_OFF, plan.cuts, _cut_off),
            (FROZEN, plan.freezes, _freeze),
            (REPLACED, plan.joins, _replace),
        ]
        deadline = time.monotonic() + (plan.seconds or math.inf)
        for turn in range(max(count for _, count, _ in acts)):
            for name, count, act in acts:
                if turn < count and time.monotonic() < deadline:
                    self._run_one(name, act, workload)

    def _run_one(
        self,
        name: str,
        act: Act,
        workload: FailoverWorkload,
    ) -> None:
        number = self._count % len(self._cluster.nodes)
        self._count += 1
        time.sleep(UNDISTURBED_SECONDS)
        self.happened.append(Incident(name, time.monotonic_ns()))
        act(self._cluster.nodes[number], lambda: self._wait_for_others(number, workload))
        self._cluster.wait_until_whole()
        wait_for_each(workload.written, partial(_workers_of, self.servers))
        self.happened[-1].end = time.monotonic_ns()

    def _wait_for_others(self, number: int, workload: FailoverWorkload) -> None:
        """Wait until every worker has written that does not need this node."""
        others = [one for at, one in enumerate(self.servers) if at != number]
        wait_for_each(workload.written, partial(_workers_of, others))


def _workers_of(servers: Sequence[Server]) -> set[int]:
    return {pid for server in servers for pid in server.worker_pids()}


def _kill(node: Node, wait_for_others: Callable[[], None]) -> None:
    node.kill()
    wait_for_others()
    node.start()


def _cut_off(node: Node, wait_for_others: Callable[[], None]) -> None:
    node.isolate()
    wait_for_others()
    node.isolate(is_isolated=False)


def _freeze(node: Node, wait_for_others: Callable[[], None]) -> None:
    freeze(node)
    wait_for_others()
    freeze(node, is_frozen=False)


def _replace(node: Node, wait_for_others: Callable[[], None]) -> None:
    node.kill()
    node.lose_data()
    wait_for_others()
    node.start()


def run(
    folder: Path,
    plan: Plan,
    cluster: Cluster,
    kind: type[Incidents] = Incidents,
    command: Command = by_serve,
) -> Report:
    """Run a plan with an instance per node, and judge all operations.

    The first instance has the address of its node alone. Those of the others have all hosts, first
    the own node.
    """
    database = cluster.new_database()
    urls = [cluster.nodes[0].url_of(database)]
    urls += [cluster.url_from(number, database) for number in range(1, plan.instances)]
    settings = {"EVENTAPI_LOG_FORMAT": "json", "EVENTAPI_SECRET_KEY": SECRET}
    with ExitStack() as stack:
        servers = [
            Server(folder / f"data{n}", plan.workers, command, {**settings, "EVENTAPI_LOG": url})
            for n, url in enumerate(urls)
        ]
        for server in servers:
            stack.enter_context(server)
        incidents = kind(cluster, servers, plan)
        load = failover.Plan(
            clients=plan.clients, workers=plan.workers * plan.instances, seed=plan.seed
        )
        ports = [server.port for server in servers]
        ran = asyncio.run(failover.under_load(folder, ports, incidents.run, load))
    for operation in ran[0]:
        took = operation.end - operation.start
        if operation.outcome is Outcome.UNKNOWN and took >= REQUEST_SECONDS * 1e9:
            operation.worker = failover.UNKNOWN  # The client gave up.
    logs = [ServerLog(server.output_path) for server in servers]
    return failover.report_of(folder, urls[-1], ran, incidents.happened, logs)
