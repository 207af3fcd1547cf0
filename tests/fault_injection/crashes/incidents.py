"""Incidents of a server under load; after each, all workers serve again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from eventapi.testing.items import ITEMS
from projections.snapshots import Snapshots
from tests.end_to_end.server import ROOT, Server, wait_for_end

READY_SECONDS = 90.0
END_SECONDS = 20.0
PAUSE_SECONDS = 0.01

START_SECONDS = 2.0
"""About how long a start takes; the kill comes at a random time before."""

STOP_SECONDS = 1.0
LONG_STOP_SECONDS = 6.5
STOPS_PER_LONG_STOP = 10
"""How long a worker is stopped; sometimes for longer than others wait for the lock."""


class Incident(StrEnum):
    """A kind of incident."""

    WORKER = "kill -9 of a worker"
    WORKERS = "kill -9 of all workers"
    SUPERVISOR = "kill -9 of the supervisor"
    EVERYTHING = "kill -9 of everything"
    START = "kill -9 during a start"
    SNAPSHOT = "kill -9 during a snapshot"
    STOP = "stop and continue of a worker"


class CrashTarget(msgspec.Struct):
    """A server, a random source, and all workers whose connections may break."""

    server: Server
    random: random.Random
    workers_seen: set[int] = set()

    def cause(self, incident: Incident) -> None:
        """Cause an incident and wait until all workers serve; raises `TimeoutError`."""
        self.record_workers()
        _ACTIONS[incident](self)
        self.server.wait_until_ready(READY_SECONDS)
        self.record_workers()

    def record_workers(self) -> None:
        """Record the present workers; later incidents may break their connections."""
        self.workers_seen |= self.server.worker_pids()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _worker(target: CrashTarget) -> None:
    victim = target.random.choice(sorted(target.server.worker_pids()))
    _kill(victim)
    wait_for_end({victim})


def _workers(target: CrashTarget) -> None:
    victims = target.server.worker_pids()
    for victim in victims:
        _kill(victim)
    wait_for_end(victims)


def _supervisor(target: CrashTarget) -> None:
    """Kill the supervisor, and its workers a moment later."""
    orphans = target.server.kill_supervisor()
    time.sleep(target.random.random())
    for orphan in orphans:
        _kill(orphan)
    wait_for_end(orphans)
    target.server.launch()


def _everything(target: CrashTarget) -> None:
    target.server.kill()
    target.server.launch()


def _start(target: CrashTarget) -> None:
    """Kill a start, which recovers, at a random time, and start again."""
    target.server.kill()
    target.server.launch()
    time.sleep(target.random.random() * START_SECONDS)
    target.record_workers()
    target.server.kill()
    target.server.launch()


def _snapshot(target: CrashTarget) -> None:
    """Kill a process while it takes a snapshot, then the server."""
    data = target.server.data
    command = [sys.executable, "-m", "eventapi", "--data", str(data), "snapshot"]
    environ = {name: text for name, text in os.environ.items() if name[:9] != "EVENTAPI_"}
    process = subprocess.Popen(
        command,
        cwd=data,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + END_SECONDS
    while process.poll() is None and not _is_snapshot_running(data) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    time.sleep(target.random.random() * STOP_SECONDS / 10)
    process.kill()
    process.wait(END_SECONDS)
    _everything(target)


def _is_snapshot_running(data: Path) -> bool:
    return (data / "snapshots" / "lock").exists() and Snapshots(
        data / "snapshots", ITEMS
    ).is_locked()


def _stop(target: CrashTarget) -> None:
    """Stop a worker, which may hold the lock, and continue it later."""
    victim = target.random.choice(sorted(target.server.worker_pids()))
    is_long = target.random.randrange(STOPS_PER_LONG_STOP) == 0
    os.kill(victim, signal.SIGSTOP)
    try:
        time.sleep(LONG_STOP_SECONDS if is_long else target.random.random() * STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)


_ACTIONS: dict[Incident, Callable[[CrashTarget], None]] = {
    Incident.WORKER: _worker,
    Incident.WORKERS: _workers,
    Incident.SUPERVISOR: _supervisor,
    Incident.EVERYTHING: _everything,
    Incident.START: _start,
    Incident.SNAPSHOT: _snapshot,
    Incident.STOP: _stop,
}
