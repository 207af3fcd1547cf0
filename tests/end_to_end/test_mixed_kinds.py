"""Workers that are killed under a load on declared kinds lose, repeat and halve no write."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.accounts import log_in
from tests.end_to_end.mixed_kinds import V2, Judged, Mixed, judge_log, judge_rows, run_mixed
from tests.end_to_end.server import ROOT, Server, by_serve
from tests.end_to_end.workload import Load
from tests.eventapi.cli.running import invoke
from tests.fault_injection.crashes.incidents import CrashTarget, Incident

APPLICATION = {"EVENTAPI_RESOURCES": "tests.end_to_end.stock"}
WORKERS, CLIENTS, KILLS = 4, 64, 3
PAUSE_SECONDS = 1.0


def run(data: Path, *, kills: int = KILLS) -> tuple[Mixed, Judged]:
    """Run the load, kill workers, and compare log and rows with what the clients saw."""
    with Server(data, WORKERS, by_serve, APPLICATION) as server:
        target = CrashTarget(server, random.Random(1))

        def kill_workers() -> None:
            for _ in range(kills):
                time.sleep(PAUSE_SECONDS)
                target.cause(Incident.WORKER)
            time.sleep(PAUSE_SECONDS)

        load = Load([server.port], server.log, WORKERS, CLIENTS)
        seen = asyncio.run(run_mixed(load, kill_workers))
        with httpx.Client(base_url=server.url, timeout=60) as client:
            tickets = list(all_tickets(client))
        assert server.stop() == 0
    judged = judge_log(server.log, seen)
    judge_rows(tickets, judged)
    return seen, judged


def all_tickets(client: httpx.Client) -> list[dict[str, Any]]:
    """Every ticket, by a user who has none."""
    headers, found = log_in(client, "reader"), []
    url: str | None = f"{V2}/tickets?limit=1000"
    while url is not None:
        page = client.get(url, headers=headers).raise_for_status().json()
        found += page["items"]
        url = page["next"]
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="node is absent: apt-get install nodejs")
def test_killed_workers_lose_and_halve_no_write_of_any_kind(data: Path) -> None:
    seen, judged = run(data)
    assert not judged.faults, judged.faults[:10]
    assert seen.counts["repeated requests"], "no kill broke a connection"
    assert {"ticket.use", "ticket.deleted", "page.created"} <= judged.counts.keys()
    assert judged.counts["schema.declared"] == 2

    replayer = ["node", str(ROOT / "docs" / "replay.mjs"), str(data / "events.jsonl")]
    replayed = subprocess.run(replayer, capture_output=True, text=True, check=True).stdout.split()
    assert replayed[-1] == invoke(data, "state", "digest", **APPLICATION).stdout.strip()


BATCH = (("tickets/1", 1), ("pages/1", 2), ("items/1", 3), ("tickets/1", 4))
"""The subjects and versions of an acknowledged batch."""

TYPES = ("ticket.created", "page.created", "item.created", "ticket.use")


def lines_of(written: Sequence[tuple[str, int]]) -> bytes:
    """The lines of a log with the events of a batch."""
    lines = [
        {"id": str(position), "subject": subject, "type": kind, "requestid": "a-1"}
        for (subject, position), kind in zip(written, TYPES, strict=False)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ((), Mixed({"a-1": BATCH})),
        (BATCH[:3], Mixed({"a-1": BATCH})),
        (BATCH, Mixed({"a-1": BATCH[:1]})),
        (BATCH, Mixed({"a-1": [*BATCH[:3], ("tickets/1", 5)]})),
        (BATCH, Mixed()),
        (BATCH, Mixed(refused={"a-1": 409})),
        (BATCH, Mixed({"a-1": BATCH}, refused={"a-2": 412})),
        (BATCH, Mixed({"a-1": BATCH}, statuses=Counter({500: 1}))),
        (BATCH, Mixed({"a-1": BATCH}, stale=["ticket 1: 1 after 4"])),
    ],
    ids=[
        *("lost", "half", "too much", "misreported", "invented", "refused and written"),
        *("wrongly refused", "failed", "stale"),
    ],
)
def test_control_each_fault_is_found(
    tmp_path: Path, written: Sequence[tuple[str, int]], seen: Mixed
) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(lines_of(BATCH))
    good = judge_log(log, Mixed({"a-1": BATCH}, statuses=Counter({200: 1, 503: 1})))
    assert not good.faults
    log.write_bytes(lines_of(written))
    assert len(judge_log(log, seen).faults) == 1


def test_control_wrong_rows_are_found() -> None:
    judged = Judged(uses=Counter({"tickets/1": 2}), live={"tickets/1", "tickets/2", "pages/1"})
    rows = [{"id": 1, "code": "a", "uses": 2}, {"id": 2, "code": "b", "uses": 0}]
    judge_rows(rows, judged)
    assert not judged.faults
    for wrong in (rows[:1], [rows[0] | {"uses": 1}, rows[1]], [rows[0], rows[1] | {"code": "a"}]):
        judged.faults.clear()
        judge_rows(wrong, judged)
        assert len(judged.faults) == 1
