"""Measure the ladder of servers and print requests per second as ratios.

    python -m benchmarks.run [--quick] [--rounds N] [--seconds N] [--only RUNG,WORKLOAD,...]

One server runs at a time, on one core, with wrk on another. Each measurement starts the server
anew over a fresh copy of the same filled data, so that no rung inherits what an earlier round
wrote. Rounds are interleaved: every rung once, then every rung again. Any error, an answer of
status 400 or above included, fails the whole run.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.client import Client, UnexpectedAnswerError, bearer
from benchmarks.fill import fill
from benchmarks.process import ServerError
from benchmarks.report import table
from benchmarks.rung import RUNGS, Rung
from benchmarks.sample_data import Account
from benchmarks.workload import WORKLOADS, Target, Workload
from benchmarks.wrk import Figures, load, script

USERS = 50
ITEMS = 500
WARM_UP = 1  # seconds

STATELESS_TARGET = Target(Account("nobody", "", "", None), token="none", item_id=1)


class Options(argparse.Namespace):
    """The command line."""

    quick: bool
    rounds: int
    seconds: int
    only: frozenset[str]
    scratch: Path | None


@dataclass(frozen=True)
class Bench:
    """Where measurements run and for how long."""

    scratch: Path
    seconds: int
    server_core: int
    load_core: int

    def filled(self, rung: Rung) -> Path:
        """The folder whose copies a rung is measured over."""
        return self.scratch / f"{rung.name}-filled"

    def prepare(self, rung: Rung) -> Account | None:
        """Fill a rung over HTTP once; returns the user whose items the workloads ask for."""
        if not rung.stateful:
            return None
        with (
            rung.running(self.filled(rung), self.server_core) as base_url,
            Client(base_url) as client,
        ):
            return fill(client, USERS, ITEMS)[0].account

    def measure(self, rung: Rung, workload: Workload, account: Account | None) -> Figures:
        """One run of one workload over a fresh copy of the rung's data."""
        folder = self.scratch / f"{rung.name}-{workload.name}"
        if rung.stateful:
            shutil.copytree(self.filled(rung), folder)
        try:
            with rung.running(folder, self.server_core) as base_url:
                return self.loaded(base_url, folder, workload, account)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def loaded(
        self, base_url: str, folder: Path, workload: Workload, account: Account | None
    ) -> Figures:
        """One run of one workload on a server that is up, behind a run that warms it up."""
        with Client(base_url) as client:
            target = STATELESS_TARGET if account is None else target_of(client, account)
            check_answers(client, workload, target)
        script_file = folder / "load.lua"
        script_file.write_text(script(workload.requests(target), target.token))
        for seconds in (WARM_UP, self.seconds):
            figures = load(
                base_url,
                script_file,
                connections=workload.connections,
                seconds=seconds,
                core=self.load_core,
            )
        return figures


def target_of(client: Client, account: Account) -> Target:
    """Log in, and take the item in the middle of the user's list."""
    token = client.login(account)
    ids = client.item_ids(token)
    return Target(account, token, ids[len(ids) // 2])


def check_answers(client: Client, workload: Workload, target: Target) -> None:
    """Ask once for everything that wrk will ask for: wrk itself lets redirects pass."""
    for request in workload.requests(target):
        answer = client.http.request(
            request.method, request.path, json=request.body, headers=bearer(target.token)
        )
        if not answer.is_success:
            raise UnexpectedAnswerError(
                f"{request.method} {request.path}: {answer.status_code} {answer.text[:500]}"
            )


def run(bench: Bench, rungs: Sequence[Rung], workloads: Sequence[Workload], rounds: int) -> None:
    """Prepare all, measure all in interleaved rounds, print a table for each workload."""
    accounts = {}
    for rung in rungs:
        progress(f"preparing {rung.name}: {rung.about}")
        accounts[rung.name] = bench.prepare(rung)
    results: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for number in range(1, rounds + 1):
        for workload in workloads:
            for rung in rungs:
                figures = bench.measure(rung, workload, accounts[rung.name])
                results[workload.name][rung.name].append(figures)
                progress(f"round {number}: {workload.name} {rung.name} {figures.rate:.0f}/s")
    print(describe(bench, rungs, rounds))
    for workload in workloads:
        print(f"\n{table(workload, results[workload.name])}")
    print("\nNo request failed: a single error fails the run.")


def describe(bench: Bench, rungs: Sequence[Rung], rounds: int) -> str:
    """What the figures hold for."""
    packages = ("uvicorn", "litestar", "msgspec", "fastapi", "pydantic")
    command = ["stat", "--file-system", "--format", "%T", str(bench.scratch)]
    filesystem = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        f"Python {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in packages),
        f"server on core {bench.server_core}, wrk on core {bench.load_core}, "
        f"data on {filesystem}; {rounds} rounds of {bench.seconds} s",
        f"each measurement of a rung with data starts from {USERS} users and {ITEMS} items",
        *(f"{rung.name}: {rung.about}" for rung in rungs),
    ]
    return "\n".join(lines)


def progress(line: str) -> None:
    """Tell a waiting person; the tables alone go to standard output."""
    print(line, file=sys.stderr, flush=True)


def names(text: str) -> frozenset[str]:
    """The names in `--only`; refuses those that are neither a rung nor a workload."""
    chosen = frozenset(text.split(","))
    unknown = chosen - {rung.name for rung in RUNGS} - {workload.name for workload in WORKLOADS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no such rung or workload: {', '.join(sorted(unknown))}")
    return chosen


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s unless given")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5")
    parser.add_argument("--seconds", type=int, metavar="N", help="of each measurement, default 10")
    parser.add_argument(
        "--only", type=names, default=frozenset(), metavar="NAME,...", help="rungs and workloads"
    )
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="on the disk to measure on")
    options = parser.parse_args(arguments, namespace=Options())
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 10)
    return options


def main() -> None:
    """Measure what the command line asks for."""
    options = parse()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    server_core, load_core = cores[:2]
    os.sched_setaffinity(0, {load_core})
    # An ordinary exit, so that the server that is running is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rungs = [rung for rung in RUNGS if rung.name in options.only] or RUNGS
    workloads = [each for each in WORKLOADS if each.name in options.only] or WORKLOADS
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.scratch) as scratch:
        bench = Bench(Path(scratch), options.seconds, server_core, load_core)
        try:
            run(bench, rungs, workloads, options.rounds)
        except ServerError as error:
            sys.exit(f"FAILED, no figures: {error}")


if __name__ == "__main__":
    main()
