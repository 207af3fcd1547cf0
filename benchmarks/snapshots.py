"""Compare reads during a snapshot with reads without one.

    python -m benchmarks.snapshots [--events N] [--rounds N] [--seconds N]

A server runs on one core, wrk on another, as in `benchmarks.http`. Snapshots are taken one after the
other by a process that may run on either core; each folds the whole log. Rounds are interleaved.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import Client
from benchmarks.http import Bench
from benchmarks.machine import command_line, two_cores
from benchmarks.results import Measured
from benchmarks.rung import find_rung
from benchmarks.sample_data import LISTED
from benchmarks.sample_log import write
from benchmarks.workload import READ, READER, Target

CONNECTIONS = 32


class SnapshotLoop:
    """Takes snapshots of a data directory, one after the other, while its context is entered."""

    def __init__(self, data: Path, cores: set[int]) -> None:
        self.taken = 0
        self._data = data
        self._cores = cores

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take snapshots; raises `subprocess.CalledProcessError` if none can be taken."""
        enough = threading.Event()
        failures: list[Exception] = []

        def take() -> None:
            try:
                while not enough.is_set():
                    self._take()
            except subprocess.CalledProcessError as error:
                failures.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()
        if failures:
            raise failures[0]

    def _take(self) -> None:
        shutil.rmtree(self._data / "snapshots", ignore_errors=True)
        cores = ",".join(map(str, sorted(self._cores)))
        command = ["taskset", "--cpu-list", cores, sys.executable, "-m", "eventapi"]
        command += ["--data", str(self._data), "snapshot"]
        subprocess.run(command, check=True, capture_output=True)
        self.taken += 1


def main() -> None:
    """Measure with the options of the command line."""
    parser = command_line("snapshots", __doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    cores = two_cores("wrk")
    quiet: list[Measured] = []
    busy: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="snapshots-") as name:
        data = Path(name) / "data"
        data.mkdir()
        asyncio.run(write(data, options.events))
        taking = SnapshotLoop(data, set(cores))
        bench = Bench(Path(name), cores, options.seconds)
        with (
            find_rung("eventapi").running(Path(name), cores) as server,
            Client(server.base_url) as client,
        ):
            token = client.login(READER)
            target = Target(READER, token, [client.create_item(token, LISTED[0])])
            bench.warm_up(server, target)
            for _ in range(options.rounds):
                quiet.append(bench.measure(server, READ, target, CONNECTIONS))
                with taking.running():
                    busy.append(bench.measure(server, READ, target, CONNECTIONS))
    print(f"{options.events} events, {taking.taken} snapshots taken in {options.rounds} rounds")
    for what in ("p50", "p99", "rate"):
        ratios = [
            getattr(during, what) / getattr(before, what)
            for before, during in zip(quiet, busy, strict=True)
        ]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what:>5} during a snapshot x without: {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()
