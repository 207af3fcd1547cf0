"""Closing segments under load, with workers that are killed at it, causes no violation."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS
from events.log.file import closed
from events.log.file.paths import closed_segments
from events.verification.verify import verify
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.planted import LINES_PER_FRAME
from tests.end_to_end.server import Server, uvicorn_of
from tests.end_to_end.test_workers import load_on
from tests.end_to_end.workers import run_trial
from tests.end_to_end.workload import Workload

SECONDS = 10.0
KILLS = 4
PATIENCE_SECONDS = 60.0


def closing_process(data: Path) -> int:
    """The process that has the lock of the directory of the segments, or 0."""
    try:
        inode = (data / "events.jsonl.segments").stat().st_ino
    except FileNotFoundError:
        return 0
    locks = Path("/proc/locks").read_text(encoding="ascii")
    found = re.search(rf"FLOCK +ADVISORY +WRITE ([0-9]+) \S+:{inode} ", locks)
    return int(found[1]) if found else 0


def test_closings_with_killed_workers_cause_no_violation(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = uvicorn_of("tests.end_to_end.planted:frequent_closings")
    with Server(data, 4, command) as server:
        killed: set[int] = set()

        def kill(__: Workload) -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(killed) < KILLS and time.monotonic() < deadline:
                is_at_work = any(data.rglob("*.tmp"))
                if is_at_work and (worker := closing_process(data)) and worker not in killed:
                    os.kill(worker, signal.SIGKILL)
                    killed.add(worker)

        load = load_on(server, clients=32, seconds=SECONDS, min_operations=1_000)
        trial = run_trial([server], load, forgiven=killed, during=kill)
        output = server.output
    assert not trial.verdict.violations, f"{trial}\n{output}"
    assert len(killed) == KILLS
    assert trial.verdict.counts["operations"] > 1_000
    assert len(closed_segments(server.log)) > 20
    assert not read_log(server.log).faults
    monkeypatch.setattr(closed, "LINES_PER_FRAME", LINES_PER_FRAME)
    assert verify(server.log, vocabulary=ITEMS, processes=1).ok
