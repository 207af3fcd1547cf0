"""Measure a start from a snapshot over logs of any length with the same state.

    python -m benchmarks.start [--changes N,...] [--items N] [--rounds N]

Each log has the same items, and then so many changes of them; its snapshot is at its end. A server
process starts over it, in turn with both values of VERIFY. Seconds are those from the start of the
process until ``/health/ready`` answers 200, until the check of the chain is done, and, after a bit of
the first line was flipped, until the process ends. CPU is that of the process until it is ready: compare
that on a machine that does other work as well.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.machine import command_line, progress
from benchmarks.process import HOST, free_port, serving
from benchmarks.sample_log import changed_inventory, write_down
from benchmarks.usage import cpu_seconds

USERS = 100
CHANGES = "1000,100000,1000000"
PAUSE_SECONDS = 0.002
DAMAGED = 65
"""The exit code of a server that found damage after its start."""


@dataclass
class Figures:
    """Seconds of one log, a value for each round."""

    events: int
    log_bytes: int
    snapshot_bytes: int
    background: list[float] = field(default_factory=list)
    background_cpu: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    before_cpu: list[float] = field(default_factory=list)
    checked: list[float] = field(default_factory=list)
    damage_found: float = 0


def prepare(data: Path, items: int, changes: int) -> Figures:
    """Write a log and its snapshot."""
    asyncio.run(write_down(data, USERS, changed_inventory(USERS, items, changes)))
    command = [sys.executable, "-m", "eventapi", "--data", str(data), "snapshot", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=data)
    taken = json.loads(done.stdout)
    size = (data / "events.jsonl").stat().st_size
    return Figures(taken["position"], size, taken["bytes"])


def wait_for(condition: Callable[[], bool]) -> float:
    """Return the time at which a condition becomes true."""
    while not condition():
        time.sleep(PAUSE_SECONDS)
    return time.monotonic()


def measure(data: Path, verify: str) -> tuple[float, float, float]:
    """Start a server; return seconds and CPU until it is ready, and until it has checked."""
    port, cores = free_port(), sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "eventapi", "serve", "--port", str(port)]
    settings = {
        "EVENTAPI_DATA": str(data),
        "EVENTAPI_VERIFY": verify,
        "EVENTAPI_LOG_LEVEL": "error",
        "EVENTAPI_SNAPSHOT_EVERY": "0",
        "EVENTAPI_SEGMENT_BYTES": "0",
    }
    with httpx.Client(base_url=f"http://{HOST}:{port}") as client:

        def is_done() -> bool:
            check = client.get("/health").json()["chain_check"]
            return check is None or check["status"] == "done"

        started = time.monotonic()
        with serving(command, settings, port, cores, data) as server:
            ready = wait_for(lambda: client.get("/health/ready").status_code == 200)
            cpu = cpu_seconds(server.pid)
            return ready - started, cpu, wait_for(is_done) - started


def measure_damage(data: Path) -> float:
    """Flip a bit of the first line; return the seconds until a started server has ended."""
    with (data / "events.jsonl").open("r+b") as log:
        log.seek(60)
        flipped = bytes([log.read(1)[0] ^ 1])
        log.seek(60)
        log.write(flipped)
    command = [sys.executable, "-m", "eventapi", "--data", str(data), "serve", "--port", "0"]
    started = time.monotonic()
    one_file = os.environ | {"EVENTAPI_SEGMENT_BYTES": "0"}
    done = subprocess.run(command, check=False, cwd=data, capture_output=True, env=one_file)
    if done.returncode != DAMAGED:
        raise SystemExit(f"the server ended with {done.returncode}: {done.stderr.decode()}")
    return time.monotonic() - started


def report(all_figures: list[Figures]) -> None:
    """Print a table with the medians."""
    names = ("events", "log", "snapshot", "ready", "CPU", "ready, `before`", "CPU, `before`")
    print(f"| {' | '.join((*names, 'checked after', 'damage found after'))} |")
    print("| ---: " * 9 + "|")
    for one in all_figures:
        sizes = f"{one.log_bytes / 1e6:,.0f} MB | {one.snapshot_bytes / 1e6:.1f} MB"
        background, before = (one.background, one.background_cpu), (one.before, one.before_cpu)
        medians = map(statistics.median, (*background, *before, one.checked))
        seconds = " | ".join(f"{value:.2f} s" for value in (*medians, one.damage_found))
        print(f"| {one.events:,} | {sizes} | {seconds} |")
    for what in ("background", "background_cpu"):
        ready = [statistics.median(getattr(one, what)) for one in all_figures]
        print(f"{what}: slowest / fastest {max(ready) / min(ready):.2f}")


def main() -> None:
    """Measure with the options of the command line."""
    parser = command_line("start", __doc__)
    parser.add_argument("--changes", default=CHANGES, metavar="N,...")
    parser.add_argument("--items", type=int, default=10_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args()
    found: list[tuple[Path, Figures]] = []
    with tempfile.TemporaryDirectory(prefix="start-") as scratch:
        for changes in map(int, options.changes.split(",")):
            progress(f"writing a log with {changes:,} changes")
            data = Path(scratch) / str(changes)
            found.append((data, prepare(data, options.items, changes)))
        for number in range(options.rounds):
            for data, figures in found:
                ready, cpu, checked = measure(data, "background")
                figures.background.append(ready)
                figures.background_cpu.append(cpu)
                figures.checked.append(checked)
                progress(f"round {number + 1}: {figures.events:,} events: ready, CPU {cpu:.2f} s")
                ready, cpu, _ = measure(data, "before")
                figures.before.append(ready)
                figures.before_cpu.append(cpu)
        for data, figures in found:
            figures.damage_found = measure_damage(data)
    report([figures for _, figures in found])


if __name__ == "__main__":
    main()
