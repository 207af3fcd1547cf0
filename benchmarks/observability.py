"""Measure what metrics and the access log cost a read.

    python -m benchmarks.observability [--rounds N] [--seconds N] [--most SHARE]

The same server runs with metrics off and warnings only, with the defaults, and with parts of the
defaults. All servers run at the same time on one core, and wrk on another loads them in turn, a
second each: compared runs are adjacent, so a slow minute of the machine cancels out. Each ratio is
between two runs of one round. ``x CPU`` is the ratio of the server's CPU time a request, which other
load on the machine disturbs less. Exits with 1 if the default costs more than ``--most`` (0.08) in
the median.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from benchmarks.client import Client
from benchmarks.http import Bench
from benchmarks.machine import command_line, progress, two_cores
from benchmarks.results import Measured
from benchmarks.rung import EVENTAPI, UNLIMITED, Rung
from benchmarks.workload import READ, fill_server

CONNECTIONS = 32
UNCOUNTED = {"EVENTAPI_METRICS": "off"}
SILENT = {"EVENTAPI_LOG_LEVEL": "warning"}
INTO_A_FILE = {"EVENTAPI_LOG_FORMAT": "json", "EVENTAPI_LOG_FILE": "{data}/server.log"}


def rung(name: str, about: str, environment: Mapping[str, str]) -> Rung:
    """Return a rung of our server with some settings."""
    return Rung(name, about, EVENTAPI, {**UNLIMITED, **environment})


BARE = rung("bare", "metrics off, warnings only", UNCOUNTED | SILENT)
DEFAULT = rung("default", "metrics and access log", {})
RUNGS = (
    BARE,
    DEFAULT,
    rung("metrics", "metrics alone", SILENT),
    rung("log", "access log alone", UNCOUNTED),
    rung("json", "metrics, access log in JSON to stderr and to a file", INTO_A_FILE),
)


def measure_rungs(bench: Bench, rounds: int) -> Mapping[str, Sequence[Measured]]:
    """Return the figures of each rung, one per round."""
    figures: dict[str, list[Measured]] = {one.name: [] for one in RUNGS}
    with ExitStack() as stack:
        asked = []
        for one in RUNGS:
            server = stack.enter_context(one.running(bench.scratch / one.name, bench.cores))
            target = fill_server(stack.enter_context(Client(server.base_url)))
            bench.warm_up(server, target)
            asked.append((one.name, server, target))
        for number in range(rounds):
            # Each round begins with another rung.
            turned = asked[number % len(asked) :] + asked[: number % len(asked)]
            for name, server, target in turned:
                figures[name].append(bench.measure(server, READ, target, CONNECTIONS))
            progress(f"round {number + 1} of {rounds}")
    return figures


def main() -> None:
    """Measure, and print each rung's rate and its ratios to the bare one."""
    parser = command_line("observability", __doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement")
    parser.add_argument("--most", type=float, default=0.08, help="the largest permitted cost")
    options = parser.parse_args()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        costs = measure_rungs(Bench(Path(scratch), cores, options.seconds), options.rounds)
    bare = costs[BARE.name]
    print(f"{'':<9}{'req/s':>8}{'x bare':>8}{'quartiles':>15}{'x CPU':>8}{'quartiles':>15}")
    for one in RUNGS:
        found = list(zip(costs[one.name], bare, strict=True))
        rates = quantiles([cost.rate / base.rate for cost, base in found], n=4)
        shares = quantiles([base.cpu / cost.cpu for cost, base in found], n=4)
        line = f"{one.name:<9}{median(cost.rate for cost, _ in found):>8.0f}"
        for low, middle, high in (rates, shares):
            line += f"{middle:>8.3f}{low:>8.3f}{high:>7.3f}"
        print(f"{line}  {one.about}")
        if one is DEFAULT:
            cost_of_default = 1 - rates[1]
    sys.exit(cost_of_default > options.most)


if __name__ == "__main__":
    main()
