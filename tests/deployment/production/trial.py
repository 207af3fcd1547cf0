"""Run a load on a stack while incidents happen, and judge it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from tests.deployment.production.incidents import HEADING, Effect, Incidents, effects
from tests.deployment.production.load import BALANCER, UNAVAILABLE_STATUS, BalancerWorkload
from tests.deployment.production.stack import Stack
from tests.end_to_end.linearizability import Verdict, judge
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.workload import Load, LoadResult


class Trial(msgspec.Struct):
    """The verdict, and the effects of the incidents."""

    verdict: Verdict
    effects: list[Effect]
    seconds: float
    lines: int

    def __str__(self) -> str:
        rate = self.verdict.counts["operations"] / self.seconds
        figures = [
            f"{'lines in the log':<36}{self.lines:>10,}",
            f"{'operations a second':<36}{rate:>10,.0f}",
        ]
        return "\n".join((str(self.verdict), *figures, "", HEADING, *map(str, self.effects)))


def run_trial(
    stack: Stack, folder: Path, *, clients: int = 64, pause: float = 2.0, seed: int = 1
) -> Trial:
    """Run a load and all incidents on a running stack, and judge the responses.

    ``pause`` is the time in seconds before, between and after incidents. A copy of the log is
    written to ``folder``.
    """
    incidents = Incidents(stack, pause)
    load = Load([stack.balancer.port], folder, clients=clients, seconds=2 * pause, seed=seed)
    ran = asyncio.run(
        BalancerWorkload(load, stack.balancer.ssl_context).run(lambda _: incidents.run())
    )
    verdict, lines = judge_run(stack, folder, ran)
    return Trial(verdict, effects(incidents.happened, ran.operations), ran.seconds, lines)


def judge_run(stack: Stack, folder: Path, ran: LoadResult) -> tuple[Verdict, int]:
    """Check the responses against the log; return the verdict and the number of lines."""
    copy = folder / "copy.jsonl"
    stack.run("log", "copy", str(copy), "--vault", str(folder / "vault.sqlite"))
    log = read_log(copy)
    names = {
        line.personal["username"]: line.subject
        for line in log.lines
        if line.type == "user.registered"
    }
    for operation in ran.operations:
        operation.owner = names[operation.owner]
    # The balancer may not know a request's outcome, and an instance may be unavailable.
    verdict = judge(ran.operations, log, {BALANCER}, {UNAVAILABLE_STATUS}, requested_positions=True)
    return verdict, len(log.lines)
