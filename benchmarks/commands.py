"""Measure what a start, commands and requests cost over a long log (CASES part F).

    python -m benchmarks.commands [--events N] [--items N] [--tail N]

The log has registrations and items, and changes of them; its snapshot is ``--tail`` events before its
end. CPU is user and system time. Memory is the largest resident set of a command, what the processes
of a started server have, with shared pages counted once, or by how much a request let that grow. A
request has the CPU of the server during it. Commands run on one core.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import httpx

from benchmarks.client import wait_until_checked
from benchmarks.machine import command_line, progress
from benchmarks.process import Server, free_port, serving
from benchmarks.sample_log import changed_inventory, write_down
from benchmarks.usage import cpu_seconds, memory, settle
from benchmarks.workload import READER

USERS = 1_000
PAUSE_SECONDS = 0.01
MOST_PAGES = 1_000

_USAGE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command from a small process, because a new process inherits the maximum of its parent."""

Row = tuple[str, float, float, str]
"""What was measured, seconds of CPU, MB of memory, and a remark."""


def prepare(data: Path, events: int, items: int, tail: int) -> None:
    """Write a log, take a snapshot, and write the tail."""
    changes = changed_inventory(USERS, items, events)
    asyncio.run(write_down(data, USERS, islice(changes, events - tail)))
    run(data, "snapshot")
    asyncio.run(write_down(data, USERS, islice(changes, tail)))
    run(data, "users", "grant", READER.username, "auditor")


def run(data: Path, *arguments: str, core: int | None = None) -> tuple[float, float]:
    """Run a command; return seconds of CPU, and MB of memory."""
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    command = [*pinned, sys.executable, "-m", "eventapi", "--data", str(data), *arguments]
    environment = {**os.environ, "EVENTAPI_LOG_LEVEL": "error", "EVENTAPI_SNAPSHOT_EVERY": "0"}
    measured = [sys.executable, "-c", _USAGE, *command]
    done = subprocess.run(measured, cwd=data, env=environment, stdout=subprocess.PIPE, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return seconds, kilobytes / 1e3


@contextmanager
def started(data: Path, workers: int) -> Iterator[Server]:
    """Run a server, and wait until it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "eventapi", "serve"]
    command += ["--port", str(port), "--workers", str(workers)]
    settings = {
        "EVENTAPI_DATA": str(data),
        "EVENTAPI_LOG_LEVEL": "error",
        "EVENTAPI_SNAPSHOT_EVERY": "0",
    }
    cores = sorted(os.sched_getaffinity(0))
    with serving(command, settings, port, cores, data) as server:
        while httpx.get(f"{server.base_url}/health/ready").status_code != 200:
            time.sleep(PAUSE_SECONDS)
        yield server


def measure_starts(data: Path) -> Iterator[Row]:
    """Measure starts with one worker and with two."""
    for workers in (1, 2):
        with started(data, workers) as server:
            used = cpu_seconds(server.pid)
            kept = memory(server.pid) / 1e6
        yield f"start until ready, {workers} worker{'s' if workers > 1 else ''}", used, kept, ""


def measure_commands(data: Path, backup: Path) -> Iterator[Row]:
    """Measure commands that find nothing new, or write one event."""
    core = min(os.sched_getaffinity(0))
    for name, arguments in {
        "first `log copy`": ("log", "copy", str(backup)),
        "`log copy` with nothing new": ("log", "copy", str(backup)),
        "`users disable`": ("users", "disable", "user7"),
        "`log copy` with one new event": ("log", "copy", str(backup)),
        "`users list`": ("users", "list"),
        "`state digest`": ("state", "digest"),
        "`snapshot`": ("snapshot",),
        "`log verify`": ("log", "verify"),
    }.items():
        progress(name)
        yield name, *run(data, *arguments, core=core), ""


def measure_requests(data: Path, items: int) -> Iterator[Row]:
    """Measure requests to a server that has checked the chain, and a command beside it."""
    with ExitStack() as stack:
        server = stack.enter_context(started(data, 1))
        client = stack.enter_context(httpx.Client(base_url=server.base_url, timeout=600))
        wait_until_checked(client, pause=1)
        body = {"username": READER.username, "password": READER.password}
        token = client.post("/api/v2/auth/login", json=body).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        before = memory(server.pid)
        name = "`users disable` beside a server"
        yield name, *run(data, "users", "disable", "user8", core=min(os.sched_getaffinity(0))), ""
        for name, path in {
            "`/audit/state`": "/api/v2/audit/state",
            "`/audit/state` again": "/api/v2/audit/state",
            "`?subject=` of an item": f"/api/v2/audit/events?subject=items/{items // 3}",
            "`?subject=` of a user": "/api/v2/audit/events?subject=users/9",
            "`?actor=` of one event": "/api/v2/audit/events?actor=users/99999",
        }.items():
            settle(server.pid)
            used, began = cpu_seconds(server.pid), time.monotonic()
            pages, empty, path_of_next = 0, 0, path
            while path_of_next and pages < MOST_PAGES:
                found = client.get(path_of_next).raise_for_status().json()
                pages, empty = pages + 1, empty + (found.get("items") == [])
                path_of_next = found.get("next")
            took = time.monotonic() - began
            used = cpu_seconds(server.pid) - used
            remark = f"{took:.2f} s" + (f", {pages} pages, {empty} empty" if "?" in path else "")
            yield name, used, (memory(server.pid) - before) / 1e6, remark


def main() -> None:
    """Measure with the options of the command line, and print a table."""
    parser = command_line("commands", __doc__)
    parser.add_argument("--events", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--items", type=int, default=500_000, metavar="N")
    parser.add_argument("--tail", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="commands-") as scratch:
        data = Path(scratch) / "data"
        prepare(data, options.events, options.items, options.tail)
        print("| | CPU | memory | |\n| --- | ---: | ---: | --- |", flush=True)
        for rows in (
            measure_starts(data),
            measure_commands(data, Path(scratch) / "backup"),
            measure_requests(data, options.items),
        ):
            for name, seconds, megabytes, remark in rows:
                print(f"| {name} | {seconds:.2f} s | {megabytes:,.0f} MB | {remark} |", flush=True)


if __name__ == "__main__":
    main()
