"""A stack under load while it is broken and mended, and the verdict."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from tests.deployment.production.incidents import HEADING, Effect, Incidents, effects
from tests.deployment.production.load import BALANCER, NOT_NOW, Through
from tests.deployment.production.stack import Stack
from tests.end_to_end.linearizability import Verdict, judge
from tests.end_to_end.workload import Load, Ran
from tests.end_to_end.written import read_log


class Trial(msgspec.Struct):
    """What came of it."""

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


def try_out(
    stack: Stack, folder: Path, *, clients: int = 64, pause: float = 2.0, seed: int = 1
) -> Trial:
    """Load a running stack, break it in every way, and judge what clients were told.

    ``pause`` are the seconds before, between and after. ``folder`` takes a copy of the log.
    """
    incidents = Incidents(stack, pause)
    load = Load([stack.balancer.port], folder, clients=clients, seconds=2 * pause, seed=seed)
    ran = asyncio.run(Through(load, stack.balancer.trust).run(lambda _: incidents.run()))
    verdict, lines = judged(stack, folder, ran)
    return Trial(verdict, effects(incidents.happened, ran.operations), ran.seconds, lines)


def judged(stack: Stack, folder: Path, ran: Ran) -> tuple[Verdict, int]:
    """What clients were told, held against the log as it stands; and how many lines that has."""
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
    # The balancer may not know what became of a request, and an instance may say: not now.
    verdict = judge(ran.operations, log, {BALANCER}, {NOT_NOW}, asked=True)
    return verdict, len(log.lines)
