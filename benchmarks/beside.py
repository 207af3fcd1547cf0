"""Compare the same server beside different outside servers, such as a dead and a working one.

All servers run at the same time on one core, and wrk on another loads them in turn: compared runs
are adjacent, so a slow minute of the machine cancels out. Each ratio is between two runs of one
round.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.http import Bench
from benchmarks.machine import progress
from benchmarks.process import Server
from benchmarks.workload import Target, Workload

Rates = Mapping[tuple[str, str], Sequence[float]]
"""Requests a second by outside server and workload, one per round."""


def measure(
    bench: Bench,
    rounds: int,
    running: Sequence[tuple[str, Server, Target]],
    workloads: Mapping[Workload, int],
) -> Rates:
    """Measure running servers in turn; ``workloads`` have their numbers of connections."""
    rates: dict[tuple[str, str], list[float]] = {}
    for _, server, target in running:
        bench.warm_up(server, target)
    for number in range(rounds):
        # Each round begins with another server.
        turned = [*running[number % len(running) :], *running[: number % len(running)]]
        for workload, connections in workloads.items():
            for name, server, target in turned:
                found = bench.measure(server, workload, target, connections)
                rates.setdefault((name, workload.name), []).append(found.rate)
        progress(f"round {number + 1} of {rounds}")
    return rates


def print_ratios(rates: Rates, subject: str, base: str) -> float:
    """Print the rates and their ratios to those of ``base``; the smallest median of a ratio."""
    print(f"{'workload':<10}{subject:<13}{'req/s':>8}{f'x {base}':>11}{'worst':>8}{'best':>8}")
    medians = []
    for (name, workload), found in sorted(rates.items(), key=lambda one: one[0][1]):
        pairs = zip(found, rates[base, workload], strict=True)
        ratios = [one / other for one, other in pairs]
        medians.append(median(ratios))
        line = f"{workload:<10}{name:<13}{median(found):>8.0f}{medians[-1]:>11.3f}"
        print(f"{line}{min(ratios):>8.3f}{max(ratios):>8.3f}")
    return min(medians)
