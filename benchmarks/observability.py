"""Measure what metrics and the access log cost a read.

    python -m benchmarks.observability [--rounds N] [--seconds N] [--most SHARE]

The same server with metrics off and warnings only, with what is on by default, and with parts of
it. All run at the same time on one core and are asked in turn by wrk on another, a second each: so
runs that are compared lie next to each other, and a slow minute of the machine cancels out. Each
ratio is between two runs of one round. ``x CPU`` is the same for the server's CPU time a request,
which whatever else the machine does disturbs less. Exits with 1 if the default costs more than
``--most``, 0.08 unless given, in the median.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from benchmarks.client import Client
from benchmarks.fill import fill
from benchmarks.run import USERS, WARM_UP, progress, target_of
from benchmarks.rung import EVENTAPI, Rung
from benchmarks.workload import WORKLOADS
from benchmarks.wrk import load, script

READ = next(workload for workload in WORKLOADS if workload.name == "read")
ITEMS = 100
LIMITS = {"EVENTAPI_RATE_LIMIT": "off", "EVENTAPI_RATE_LIMIT_LOGIN": "off"}
UNCOUNTED = {"EVENTAPI_METRICS": "off"}
SILENT = {"EVENTAPI_LOG_LEVEL": "warning"}
INTO_A_FILE = {"EVENTAPI_LOG_FORMAT": "json", "EVENTAPI_LOG_FILE": "{data}/server.log"}


def rung(name: str, about: str, environment: Mapping[str, str]) -> Rung:
    """A server of ours with some settings."""
    return Rung(name, about, EVENTAPI, {**LIMITS, **environment})


BARE = rung("bare", "metrics off, warnings only", UNCOUNTED | SILENT)
DEFAULT = rung("default", "metrics and access log", {})
RUNGS = (
    BARE,
    DEFAULT,
    rung("metrics", "metrics alone", SILENT),
    rung("log", "access log alone", UNCOUNTED),
    rung("json", "metrics, access log in JSON to stderr and to a file", INTO_A_FILE),
)


@dataclass(frozen=True)
class Cost:
    """Requests a second, and the server's CPU time in seconds for one."""

    rate: float
    cpu: float


def cpu_seconds(process: int) -> float:
    """What a process has used so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(
    folder: Path, rounds: int, seconds: int, cores: Sequence[int]
) -> Mapping[str, Sequence[Cost]]:
    """The costs of each rung, one a round."""
    server_core, load_core = cores
    costs: dict[str, list[Cost]] = {one.name: [] for one in RUNGS}
    with ExitStack() as stack:
        asked = []
        for one in RUNGS:
            base_url = stack.enter_context(one.running(folder / one.name, server_core))
            client = stack.enter_context(Client(base_url))
            target = target_of(client, fill(client, USERS, ITEMS)[0].account)
            script_file = folder / f"{one.name}.lua"
            script_file.write_text(script(READ.requests(target), target.token))
            process = client.http.get("/health").json()["process"]
            asked.append((one.name, base_url, script_file, process))
        for number in range(rounds + 1):
            # Whoever comes first in a round is another one each time.
            turned = asked[number % len(asked) :] + asked[: number % len(asked)]
            for name, base_url, script_file, process in turned:
                before = cpu_seconds(process)
                figures = load(
                    base_url,
                    script_file,
                    connections=READ.connections,
                    seconds=seconds if number else WARM_UP,
                    core=load_core,
                )
                if number:
                    used = cpu_seconds(process) - before
                    costs[name].append(Cost(figures.rate, used / figures.requests))
            progress(f"round {number} of {rounds}")
    return costs


def main() -> None:
    """Measure, and print each rung's rate and its ratios to the bare one."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.observability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement")
    parser.add_argument("--most", type=float, default=0.08, help="what it may cost")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        costs = measured(Path(scratch), options.rounds, options.seconds, cores)
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
