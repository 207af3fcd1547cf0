"""Measure a start from a snapshot over logs of any length with the same state.

    python -m benchmarks.start [--changes N,...] [--items N] [--workers N,...] [--rounds N]
                               [--folder DIR] [--signed] [--before] [--damage]

Each log has the same items, and then so many changes of them; its snapshot is at its end. A round
starts a server over each log in turn. Seconds are those from the start of the process until
``/health/ready`` answers 200. CPU is that of all processes of the server until then: compare that on a
machine that does other work as well. Memory is that of the processes when they are ready; shared
pages count once.

Then a server of each log is measured once: with ``--signed`` until ``/log/checkpoint`` answers 200, so
when all is checked and the tree is complete; with ``--before`` until one is ready that checks everything
first; and with ``--damage`` until one has ended whose log has a flipped bit in its first line.

With ``--folder``, logs and snapshots stay there, and those that are there are measured again.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.client import wait_until_checked
from benchmarks.machine import command_line, progress
from benchmarks.process import HOST, Server, free_port, serving
from benchmarks.sample_log import changed_inventory, prepare_log, write_down
from benchmarks.usage import cpu_seconds, memory

USERS = 100
CHANGES = "1000,100000,1000000"
PAUSE_SECONDS = 0.002
POLL_SECONDS = 0.5
"""Between two requests while the server checks its log, because they cost CPU, too."""

KEPT = "kept"
"""The folder of the snapshots while the log is damaged."""

DAMAGED = 65
"""The exit code of a server that found damage after its start."""


@dataclass
class Figures:
    """What was measured over one log with one number of workers; seconds have a value a round."""

    data: Path
    workers: int
    events: int
    log_bytes: int
    snapshot_bytes: int
    ready: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    once: dict[str, str] = field(default_factory=dict)
    """By the head of the column."""


def prepare(data: Path, items: int, changes: int) -> tuple[int, int, int]:
    """Write a log and its snapshot, unless they are there; return events, and sizes of both."""
    if (data / KEPT).exists():
        raise SystemExit(f"an interrupted run has damaged the log: remove {data}")
    events = USERS + items + changes

    def write(folder: Path) -> Coroutine[Any, Any, None]:
        return write_down(folder, USERS, changed_inventory(USERS, items, changes))

    log = prepare_log(data, events, write)
    snapshots = data / "snapshots"
    if not any(snapshots.glob("*.snapshot")):
        progress(f"taking the snapshot over {changes:,} changes")
        command = [sys.executable, "-m", "eventapi", "--data", str(data), "snapshot", "--json"]
        one_file = os.environ | {"EVENTAPI_SEGMENT_BYTES": "0"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=data, env=one_file)
        progress(f"snapshot: {json.loads(done.stdout)}")
    snapshot = snapshots / f"{events}.snapshot"
    return events, log.stat().st_size, snapshot.stat().st_size


def wait_for(condition: Callable[[], bool], pause: float) -> float:
    """Return the time at which a condition becomes true."""
    while not condition():
        time.sleep(pause)
    return time.monotonic()


@contextmanager
def started(one: Figures, verify: str) -> Iterator[tuple[float, Server, httpx.Client]]:
    """Start a server; yields the time of the start, the server when it is ready, and a client."""
    port, cores = free_port(), sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "eventapi", "serve", "--port", str(port)]
    settings = {
        "EVENTAPI_DATA": str(one.data),
        "EVENTAPI_WORKERS": str(one.workers),
        "EVENTAPI_VERIFY": verify,
        "EVENTAPI_LOG_LEVEL": "error",
        "EVENTAPI_SNAPSHOT_EVERY": "0",
        "EVENTAPI_SEGMENT_BYTES": "0",
    }
    with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=600) as client:
        began = time.monotonic()
        with serving(command, settings, port, cores, one.data) as server:
            wait_for(lambda: client.get("/health/ready").is_success, PAUSE_SECONDS)
            yield began, server, client


def measure_ready(one: Figures) -> None:
    """Start a server, and end it when it is ready."""
    with started(one, "background") as (began, server, _):
        one.ready.append(time.monotonic() - began)
        one.cpu.append(cpu_seconds(server.pid))
        one.memory.append(memory(server.pid))
    progress(f"{one.events:,} events: ready after {one.ready[-1]:.2f} s, CPU {one.cpu[-1]:.2f} s")


def measure_signed(one: Figures) -> Iterator[tuple[str, str]]:
    """Start a server, and end it when it has signed its log."""
    with started(one, "background") as (began, server, client):
        wait_until_checked(client, POLL_SECONDS)
        wait_for(lambda: client.get("/log/checkpoint").is_success, POLL_SECONDS)
        seconds, cpu = time.monotonic() - began, cpu_seconds(server.pid)
    yield "signed", f"{seconds:.1f} s"
    yield "CPU, signed", f"{cpu:.1f} s"


def measure_before(one: Figures) -> Iterator[tuple[str, str]]:
    """Start a server that checks everything first."""
    with started(one, "before") as (began, server, _):
        seconds, cpu = time.monotonic() - began, cpu_seconds(server.pid)
    yield "ready, `before`", f"{seconds:.1f} s"
    yield "CPU, `before`", f"{cpu:.1f} s"


def measure_damage(one: Figures) -> Iterator[tuple[str, str]]:
    """Start a server over a log with a flipped bit; it ends, and removes the snapshots."""
    command = [sys.executable, "-m", "eventapi", "--data", str(one.data), "serve", "--port", "0"]
    settings = {"EVENTAPI_SEGMENT_BYTES": "0", "EVENTAPI_WORKERS": str(one.workers)}
    with damaged(one.data) as snapshots:
        began = time.monotonic()
        done = subprocess.run(
            command, check=False, cwd=one.data, capture_output=True, env=os.environ | settings
        )
        seconds = time.monotonic() - began
        if done.returncode != DAMAGED:
            raise SystemExit(f"the server ended with {done.returncode}: {done.stderr.decode()}")
        progress(done.stderr.decode()[-1000:])
        if any(snapshots.glob("*.snapshot")):
            raise SystemExit("the snapshots are still there")
    yield "damage found", f"{seconds:.1f} s"


ONCE = {"signed": measure_signed, "before": measure_before, "damage": measure_damage}
"""What is measured once, by the option that demands it."""


@contextmanager
def damaged(data: Path) -> Iterator[Path]:
    """Flip a bit of the first line, and restore the log and its snapshots; yields their folder."""
    kept, snapshots = data / KEPT, data / "snapshots"
    shutil.copytree(snapshots, kept)
    flip(data)
    try:
        yield snapshots
    finally:
        flip(data)
        shutil.rmtree(snapshots)
        kept.rename(snapshots)


def flip(data: Path) -> None:
    """Flip a bit of the first line, or flip it back."""
    with (data / "events.jsonl").open("r+b") as log:
        log.seek(60)
        flipped = bytes([log.read(1)[0] ^ 1])
        log.seek(60)
        log.write(flipped)


def report(found: Sequence[Figures]) -> None:
    """Print a table with medians and the fastest start, and the ratios over the lengths."""
    once = list(found[0].once)
    names = ("events", "workers", "log", "snapshot", "fastest", "median", "CPU", "memory", *once)
    print(f"| {' | '.join(names)} |")
    print(f"|{' ---: |' * len(names)}")
    for one in found:
        cells = [f"{one.events:,}", f"{one.workers}", f"{one.log_bytes / 1e6:,.0f} MB"]
        cells += [f"{one.snapshot_bytes / 1e6:.1f} MB", f"{min(one.ready):.2f} s"]
        cells += [f"{statistics.median(one.ready):.2f} s"]
        cells += [f"{statistics.median(one.cpu):.2f} s"]
        cells += [f"{statistics.median(one.memory) / 1e6:,.0f} MB"]
        print(f"| {' | '.join([*cells, *(one.once[name] for name in once)])} |")
    for workers in dict.fromkeys(one.workers for one in found):
        ours = [one for one in found if one.workers == workers]
        for name, values in {
            "fastest start": [min(one.ready) for one in ours],
            "median start": [statistics.median(one.ready) for one in ours],
            "CPU": [statistics.median(one.cpu) for one in ours],
        }.items():
            print(f"{workers} workers, {name}: most / least {max(values) / min(values):.2f}")


def main() -> None:
    """Measure with the options of the command line."""
    parser = command_line("start", __doc__)
    parser.add_argument("--changes", default=CHANGES, metavar="N,...")
    parser.add_argument("--items", type=int, default=10_000, metavar="N")
    parser.add_argument("--workers", default="1", metavar="N,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of the logs, which stay there")
    for name, measure in ONCE.items():
        about = (measure.__doc__ or "").partition(".")[0]
        parser.add_argument(f"--{name}", action="store_true", help=f"measure, too: {about}")
    options = parser.parse_args()
    parts = [measure for name, measure in ONCE.items() if getattr(options, name)]
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="start-") as scratch:
        for changes in map(int, options.changes.split(",")):
            data = (options.folder or Path(scratch)) / f"{options.items}-{changes}"
            sizes = prepare(data, options.items, changes)
            found += [
                Figures(data, workers, *sizes) for workers in map(int, options.workers.split(","))
            ]
        for number in range(options.rounds):
            progress(f"round {number + 1}")
            for one in found:
                measure_ready(one)
        for measure in parts:
            for one in found:
                one.once.update(measure(one))
                progress(f"{one.events:,} events, {one.workers} workers: {one.once}")
    report(found)


if __name__ == "__main__":
    main()
