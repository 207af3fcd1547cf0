"""A worker crashes at each critical point of a write; the others continue."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.client import BrokenError, Connection
from tests.end_to_end.planted import CRASH_POINTS, FAULT_FILE
from tests.end_to_end.server import Server, uvicorn_of
from tests.end_to_end.workers import run_trial
from tests.end_to_end.workload import Load, Workload

CRASHING = uvicorn_of("tests.end_to_end.planted:crash_at_point")
CRASH_SECONDS = 10.0
PAUSE_SECONDS = 0.1


def arm(server: Server, fault: str) -> None:
    """Crash the next worker that reaches this point of a write."""
    whole = server.data / "fault.tmp"
    whole.write_text(fault)
    whole.rename(server.data / FAULT_FILE)


def wait_for_crash(server: Server) -> None:
    """Wait until a worker has crashed at the armed point."""
    deadline = time.monotonic() + CRASH_SECONDS
    while (server.data / FAULT_FILE).exists():
        assert time.monotonic() < deadline, "no worker crashed"
        time.sleep(0.01)


def test_crash_at_any_point_of_a_write_loses_no_acknowledged_event(data: Path) -> None:
    """Under load: acknowledged events are in the log, torn lines are in quarantine."""
    seen: set[int] = set()

    def crash_everywhere(_: Workload) -> None:
        for fault in CRASH_POINTS:
            server.wait_until_ready()
            seen.update(server.worker_pids())
            arm(server, fault)
            wait_for_crash(server)
        time.sleep(PAUSE_SECONDS)
        seen.update(server.worker_pids())

    with Server(data, 3, CRASHING) as server:
        load = Load([server.port], server.log, server.workers, clients=16, seconds=1.0)
        trial = run_trial([server], load, forgiven=seen, during=crash_everywhere)
    assert not trial.verdict.violations, f"{trial}"
    assert trial.verdict.counts["writes acknowledged"] > 100, f"{trial}"
    assert "They were checked and kept" in server.output
    assert "are not whole events: they were cut off" in server.output
    assert list((data / "quarantine").iterdir())


def test_no_worker_reads_an_event_that_a_crashed_worker_did_not_publish(data: Path) -> None:
    """The worker crashes between the mark's slot and the position that others poll.

    Without a guard, a worker that has to catch up would read the slot, and others would not.
    """
    with ExitStack() as stack:
        dying, ahead, behind = (stack.enter_context(Server(data, 1, CRASHING)) for _ in range(3))
        asyncio.run(_crash_in_the_mark(dying, ahead, behind))


async def _crash_in_the_mark(dying: Server, ahead: Server, behind: Server) -> None:
    account = await Workload(Load([dying.port], dying.log)).create_account("ann")
    headers = {"Authorization": account.authorization}

    async def titles_after(server: Server, title: str | None = None) -> list[str]:
        """Create an item, if a title is given, and list all items."""
        connection = await Connection.open(server.port, identify=False)
        try:
            if title is not None:
                await connection.request("POST", "/items", {"title": title}, headers)
            answer = await connection.request("GET", "/items", headers=headers)
            return [item["title"] for item in answer.json()]
        finally:
            connection.close()

    assert await titles_after(dying, "first") == await titles_after(ahead) == ["first"]
    arm(dying, "in the mark")
    with pytest.raises(BrokenError):
        await titles_after(dying, "second")
    # Not published, so no worker may show it.
    assert await titles_after(behind) == await titles_after(ahead) == ["first"]
    assert (
        await titles_after(ahead, "third")
        == await titles_after(behind)
        == ["first", "second", "third"]
    )
