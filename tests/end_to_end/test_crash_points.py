"""A worker dies at every point of a write that makes a difference, and the others go on."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.client import BrokenError, Connection
from tests.end_to_end.planted import FAULT_FILE, FAULTS
from tests.end_to_end.server import Server, uvicorn_of
from tests.end_to_end.workers import try_out
from tests.end_to_end.workload import Load, Workload

MORTAL = uvicorn_of("tests.end_to_end.planted:mortal")
DEATH_SECONDS = 10.0
PAUSE_SECONDS = 0.1


def arm(server: Server, fault: str) -> None:
    """Have the next worker that gets to a point in its write die there."""
    whole = server.data / "fault.tmp"
    whole.write_text(fault)
    whole.rename(server.data / FAULT_FILE)


def wait_for_death(server: Server) -> None:
    """Return when the fault has been met."""
    deadline = time.monotonic() + DEATH_SECONDS
    while (server.data / FAULT_FILE).exists():
        assert time.monotonic() < deadline, "nobody died"
        time.sleep(0.01)


def test_a_death_at_any_point_of_a_write_changes_nothing(data: Path) -> None:
    """Under load; what was acknowledged is there, and what was torn is put aside."""
    seen: set[int] = set()

    def die_everywhere(_: Workload) -> None:
        for fault in FAULTS:
            server.wait_until_ready()
            seen.update(server.worker_pids())
            arm(server, fault)
            wait_for_death(server)
        time.sleep(PAUSE_SECONDS)
        seen.update(server.worker_pids())

    with Server(data, 3, MORTAL) as server:
        load = Load([server.port], server.log, server.workers, clients=16, seconds=1.0)
        trial = try_out([server], load, forgiven=seen, during=die_everywhere)
    assert not trial.verdict.guilt, f"{trial}"
    assert trial.verdict.counts["writes acknowledged"] > 100, f"{trial}"
    assert "They were checked and kept" in server.output
    assert "are not whole events: they were cut off" in server.output
    assert list((data / "quarantine").iterdir())


def test_nobody_sees_what_a_dead_worker_did_not_tell_all(data: Path) -> None:
    """The mark's slot is written, the word that all look at is not: then nobody reads past it.

    A worker that has catching up to do would come upon the slot; one that has not, would not.
    """
    with ExitStack() as stack:
        dying, ahead, behind = (stack.enter_context(Server(data, 1, MORTAL)) for _ in range(3))
        asyncio.run(_die_in_the_mark(dying, ahead, behind))


async def _die_in_the_mark(dying: Server, ahead: Server, behind: Server) -> None:
    account = await Workload(Load([dying.port], dying.log)).account("somebody")
    headers = {"Authorization": account.authorization}

    async def ask(server: Server, title: str | None = None) -> list[str]:
        """Make an item, if one is named, and list them all."""
        connection = await Connection.open(server.port, ask_who=False)
        try:
            if title is not None:
                await connection.request("POST", "/items", {"title": title}, headers)
            answer = await connection.request("GET", "/items", headers=headers)
            return [item["title"] for item in answer.json()]
        finally:
            connection.close()

    assert await ask(dying, "first") == await ask(ahead) == ["first"]
    arm(dying, "in the mark")
    with pytest.raises(BrokenError):
        await ask(dying, "second")
    # Not yet told to all, so not yet told to anybody.
    assert await ask(behind) == await ask(ahead) == ["first"]
    assert await ask(ahead, "third") == await ask(behind) == ["first", "second", "third"]
