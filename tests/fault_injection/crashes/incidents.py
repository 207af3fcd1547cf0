"""What befalls a server under load; each leaves it serving again, with all of its workers."""

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

from projections.snapshots import Snapshots
from tests.end_to_end.server import ROOT, Server, wait_for_end

READY_SECONDS = 90.0
END_SECONDS = 20.0
PAUSE_SECONDS = 0.01

START_SECONDS = 2.0
"""About how long a start takes: it is killed at some time before."""

STOP_SECONDS = 1.0
LONG_STOP_SECONDS = 6.5
LONG_STOP_IN = 10
"""For how long a worker is stopped; once in a while for longer than others wait for the lock."""


class Incident(StrEnum):
    """What may befall it."""

    WORKER = "kill -9 of a worker"
    WORKERS = "kill -9 of all workers"
    SUPERVISOR = "kill -9 of the supervisor"
    EVERYTHING = "kill -9 of everything"
    START = "kill -9 during a start"
    SNAPSHOT = "kill -9 during a snapshot"
    STOP = "stop and go on of a worker"


class Scene(msgspec.Struct):
    """A server, the dice, and all processes that clients may have lost to an incident."""

    server: Server
    dice: random.Random
    harmed: set[int] = set()

    def suffer(self, incident: Incident) -> None:
        """Have an incident, and return when all workers serve; raises `TimeoutError`."""
        self.note_workers()
        _HAPPEN[incident](self)
        self.server.wait_until_ready(READY_SECONDS)
        self.note_workers()

    def note_workers(self) -> None:
        """Remember who serves now: their connections may break in some later incident."""
        self.harmed |= self.server.worker_pids()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _worker(scene: Scene) -> None:
    victim = scene.dice.choice(sorted(scene.server.worker_pids()))
    _kill(victim)
    wait_for_end({victim})


def _workers(scene: Scene) -> None:
    victims = scene.server.worker_pids()
    for victim in victims:
        _kill(victim)
    wait_for_end(victims)


def _supervisor(scene: Scene) -> None:
    """Its workers go on for a moment, without it."""
    orphans = scene.server.kill_supervisor()
    time.sleep(scene.dice.random())
    for orphan in orphans:
        _kill(orphan)
    wait_for_end(orphans)
    scene.server.launch()


def _everything(scene: Scene) -> None:
    scene.server.kill()
    scene.server.launch()


def _start(scene: Scene) -> None:
    """A start, which recovers, is killed at some time, and another one has to do."""
    scene.server.kill()
    scene.server.launch()
    time.sleep(scene.dice.random() * START_SECONDS)
    scene.note_workers()
    scene.server.kill()
    scene.server.launch()


def _snapshot(scene: Scene) -> None:
    """Whoever takes a snapshot is killed while at it, and everybody else then."""
    data = scene.server.data
    command = [sys.executable, "-m", "eventapi", "--data", str(data), "snapshot"]
    environ = {name: text for name, text in os.environ.items() if name[:9] != "EVENTAPI_"}
    taker = subprocess.Popen(
        command,
        cwd=data,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + END_SECONDS
    while taker.poll() is None and not _is_taking(data) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    time.sleep(scene.dice.random() * STOP_SECONDS / 10)
    taker.kill()
    taker.wait(END_SECONDS)
    _everything(scene)


def _is_taking(data: Path) -> bool:
    return (data / "snapshots" / "lock").exists() and Snapshots(data / "snapshots").is_locked()


def _stop(scene: Scene) -> None:
    """A worker is stopped, perhaps with the lock, and goes on later as if nothing had been."""
    victim = scene.dice.choice(sorted(scene.server.worker_pids()))
    long = scene.dice.randrange(LONG_STOP_IN) == 0
    os.kill(victim, signal.SIGSTOP)
    try:
        time.sleep(LONG_STOP_SECONDS if long else scene.dice.random() * STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)


_HAPPEN: dict[Incident, Callable[[Scene], None]] = {
    Incident.WORKER: _worker,
    Incident.WORKERS: _workers,
    Incident.SUPERVISOR: _supervisor,
    Incident.EVERYTHING: _everything,
    Incident.START: _start,
    Incident.SNAPSHOT: _snapshot,
    Incident.STOP: _stop,
}
