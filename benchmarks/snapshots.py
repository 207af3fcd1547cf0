"""Measure reads while a snapshot is taken against reads while none is.

    python -m benchmarks.snapshots [--events N] [--rounds N] [--seconds N]

A server on one core, wrk on another, as in `benchmarks.run`; the process that takes snapshots may
run on either, one snapshot after the other, each a fold of the whole log. Rounds are interleaved.
"""

import argparse
import asyncio
import os
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
from benchmarks.replay import write
from benchmarks.run import WARM_UP
from benchmarks.rung import RUNGS
from benchmarks.sample_data import Account, Content
from benchmarks.workload import WORKLOADS, Target
from benchmarks.wrk import Figures, load, script

READER = Account(
    username="reader",
    email="reader@example.com",
    password="a password of some length",
    full_name=None,
)
READ = next(workload for workload in WORKLOADS if workload.name == "read")


class Taking:
    """Snapshots of a data directory, one after the other, while its context is entered."""

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
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.snapshots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    server_core, load_core = sorted(cores)[:2]
    rung = next(rung for rung in RUNGS if rung.name == "eventapi")
    quiet: list[Figures] = []
    busy: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="snapshots-") as name:
        data = Path(name) / "data"
        data.mkdir()
        asyncio.run(write(data, options.events))
        taking = Taking(data, {server_core, load_core})
        with rung.running(Path(name), server_core) as base_url:
            lua = Path(name) / "load.lua"
            lua.write_text(script(READ.requests(target := _target(base_url)), target.token))

            def read(seconds: int) -> Figures:
                return load(
                    base_url, lua, connections=READ.connections, seconds=seconds, core=load_core
                )

            read(WARM_UP)
            for _ in range(options.rounds):
                quiet.append(read(options.seconds))
                with taking.running():
                    busy.append(read(options.seconds))
    print(f"{options.events} events, {taking.taken} snapshots taken in {options.rounds} rounds")
    for what in ("p50", "p99", "rate"):
        ratios = [
            getattr(during, what) / getattr(before, what)
            for before, during in zip(quiet, busy, strict=True)
        ]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what:>5} while one is taken x none: {statistics.median(ratios):.2f} ({spread})")


def _target(base_url: str) -> Target:
    with Client(base_url) as client:
        client.register(READER)
        token = client.login(READER)
        return Target(READER, token, client.create_item(token, Content("To be read", None)))


if __name__ == "__main__":
    main()
