"""Several workers over one log are one server, whoever of them dies."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventapi.server.supervisor import HEALTH_SECONDS
from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.linearizability import Guilt
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of, wait_for_end
from tests.end_to_end.workers import Trial, try_out
from tests.end_to_end.workload import Load, Workload
from tests.end_to_end.written import read_log

SECONDS = 8.0
SHORT_SECONDS = 2.0
STOP_SECONDS = 10.0


def load_on(*servers: Server, clients: int = 64, seconds: float = SECONDS) -> Load:
    """A load on servers over one log."""
    ports = [server.port for server in servers]
    workers = sum(server.workers for server in servers)
    return Load(ports, servers[0].log, workers, clients, seconds=seconds)


def assert_innocent(trial: Trial, operations: int) -> None:
    """Nothing is wrong, and enough was done for that to mean something."""
    assert not trial.verdict.guilt, f"{trial}"
    assert trial.verdict.counts["operations"] > operations, f"{trial}"
    assert len(trial.ran.connections) > 1, f"one worker has done it all:\n{trial}"


def test_a_worker_killed_under_load_changes_nothing(data: Path) -> None:
    """No stale read, no lost write, no error but the killed worker's broken connections."""
    with Server(data, 4, by_serve) as server:
        trial = try_out([server], load_on(server), kill=True)
    assert_innocent(trial, 1_000)
    assert trial.killed


def test_two_servers_on_one_directory_are_one(data: Path) -> None:
    """A second server is simply more workers."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(data, 2)) for _ in range(2)]
        trial = try_out(servers, load_on(*servers, seconds=SHORT_SECONDS), kill=True)
    assert_innocent(trial, 300)


def test_clocks_that_disagree_and_run_backwards_are_no_trouble(data: Path) -> None:
    """Times in the log never decrease, whichever worker's clock is asked."""
    command = uvicorn_of("tests.end_to_end.planted:skewed_clocks")
    with Server(data, 2, command) as server:
        trial = try_out([server], load_on(server, clients=16, seconds=SHORT_SECONDS))
    assert_innocent(trial, 300)


@pytest.mark.parametrize(
    ("bug", "guilts"),
    [
        ("stale_reads", {Guilt.STALE}),
        ("early_answers", {Guilt.FUTURE}),
        ("no_lock", {Guilt.CHAIN, Guilt.LOST}),
    ],
)
def test_a_planted_bug_is_found(data: Path, bug: str, guilts: set[Guilt]) -> None:
    """The control: the same load finds a server guilty that has one thing wrong with it."""
    with Server(data, 2, uvicorn_of(f"tests.end_to_end.planted:{bug}")) as server:
        trial = try_out([server], load_on(server, clients=16, seconds=SHORT_SECONDS))
    assert guilts & trial.verdict.guilt.keys(), f"{trial}"


def test_a_killed_worker_is_replaced(data: Path, command: Command) -> None:
    """After `kill -9` of all workers at once, as many serve again, and all is there."""
    with Server(data, 2, command) as server:
        before = server.worker_pids()
        asyncio.run(_write(server, 5))
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        _wait_for_loss(server, before)
        server.wait_until_ready()
        asyncio.run(_write(server, 5, name="another"))
        assert server.stop() == 0
    log = read_log(server.log)
    assert not log.faults
    assert sum(line.type == "item.created" for line in log.lines) == 10


def _wait_for_loss(server: Server, workers: set[int]) -> None:
    # Uvicorn's supervisor gives up this late on a worker that dies while it is asked how it is.
    deadline = time.monotonic() + HEALTH_SECONDS + STOP_SECONDS
    while server.worker_pids() & workers:
        assert time.monotonic() < deadline, "killed workers are still there"
        time.sleep(0.02)


async def _write(server: Server, count: int, name: str = "somebody") -> Sequence[Answer]:
    """Make an account and some items, all at once; the answers, each 201."""
    account = await Workload(load_on(server, clients=0)).account(name)
    connections = [await Connection.open(server.port) for _ in range(count)]
    headers = {"Authorization": account.authorization}
    writes = [
        connection.request("POST", "/api/v2/items", {"title": f"item {number}"}, headers)
        for number, connection in enumerate(connections)
    ]
    answers = await asyncio.gather(*writes)
    for connection in connections:
        connection.close()
    assert {answer.status for answer in answers} == {201}
    return answers


def test_what_is_in_flight_at_sigterm_is_answered(data: Path, command: Command) -> None:
    """Writes that wait for the log when the server is told to end are written and answered."""
    with Server(data, 2, command) as server:
        answers = asyncio.run(_end_in_flight(server, server.terminate))
        assert server.wait(STOP_SECONDS) == 0
    _assert_written(server, answers)


def test_workers_end_with_their_supervisor(data: Path, command: Command) -> None:
    """Killed, it tells them nothing; they answer what they have, and let go of the port."""
    orphans: set[int] = set()
    with Server(data, 2, command) as server:
        answers = asyncio.run(
            _end_in_flight(server, lambda: orphans.update(server.kill_supervisor()))
        )
        wait_for_end(orphans)
        assert len(orphans) == 2
        server.launch()
        server.wait_until_ready()
    _assert_written(server, answers)


def _assert_written(server: Server, answers: Sequence[Answer]) -> None:
    log = read_log(server.log)
    assert not log.faults
    positions = {line.position for line in log.lines if line.type == "item.created"}
    assert positions == {answer.number("event-position") for answer in answers}
    assert len(positions) == 24


async def _end_in_flight(server: Server, end: Callable[[], None]) -> Sequence[Answer]:
    """Hold the log's lock, so that the writes cannot be done before the server is to end."""
    account = await Workload(load_on(server, clients=0)).account("somebody")
    connections = [await Connection.open(server.port) for _ in range(24)]
    headers = {"Authorization": account.authorization}
    lock = os.open(server.log.with_name("events.jsonl.lock"), os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writes = asyncio.gather(
            *(
                connection.request("POST", "/api/v2/items", {"title": "late"}, headers)
                for connection in connections
            )
        )
        await asyncio.sleep(0.5)
        end()
        await asyncio.sleep(1.0)
        assert not writes.done(), "the lock did not hold the writes up"
    finally:
        os.close(lock)
    answers = await writes
    for connection in connections:
        connection.close()
    return answers


def test_sigterm_under_load_loses_nothing(data: Path) -> None:
    """Everything acknowledged is in the log, and the server ends well within the limit."""

    def terminate(_: Workload) -> None:
        server.terminate()

    with Server(data, 4, by_serve) as server:
        # A keep-alive connection may be closed just as the next request is on its way.
        workers = server.worker_pids()
        load = load_on(server, seconds=SHORT_SECONDS)
        trial = try_out([server], load, forgiven=workers, during=terminate)
    assert_innocent(trial, 300)
