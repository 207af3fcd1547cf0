"""Several workers over one log behave as one server, also when some are killed."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventapi.server.supervisor import HEALTH_SECONDS
from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.linearizability import Violation
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import (
    Command,
    Server,
    by_serve,
    hold_log_lock,
    uvicorn_of,
    wait_for_end,
)
from tests.end_to_end.waiting import wait_until
from tests.end_to_end.workers import Trial, run_trial
from tests.end_to_end.workload import Load, Workload

SECONDS = 8.0
SHORT_SECONDS = 2.0
STOP_SECONDS = 10.0


def load_on(
    *servers: Server, clients: int = 64, seconds: float = SECONDS, min_operations: int = 0
) -> Load:
    """A load on servers over one log."""
    ports = [server.port for server in servers]
    workers = sum(server.workers for server in servers)
    return Load(
        ports,
        servers[0].log,
        workers,
        clients,
        seconds=seconds,
        min_operations=min_operations,
    )


def assert_no_violation(trial: Trial, operations: int) -> None:
    """Assert that there is no violation, and that enough operations ran."""
    assert not trial.verdict.violations, f"{trial}"
    assert trial.verdict.counts["operations"] > operations, f"{trial}"
    assert len(trial.result.connections) > 1, f"a single worker served all clients:\n{trial}"


def test_killing_a_worker_under_load_causes_no_violation(data: Path) -> None:
    """The only errors are broken connections to the killed worker."""
    with Server(data, 4, by_serve) as server:
        trial = run_trial([server], load_on(server, min_operations=1_000), kill=True)
    assert_no_violation(trial, 1_000)
    assert trial.killed


def test_two_servers_on_one_directory_behave_as_one(data: Path) -> None:
    """A second server just adds workers."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(data, 2)) for _ in range(2)]
        trial = run_trial(
            servers, load_on(*servers, seconds=SHORT_SECONDS, min_operations=300), kill=True
        )
    assert_no_violation(trial, 300)


def test_differing_and_backward_clocks_cause_no_violation(data: Path) -> None:
    """Times in the log never decrease, whichever worker writes."""
    command = uvicorn_of("tests.end_to_end.planted:skewed_clocks")
    with Server(data, 2, command) as server:
        trial = run_trial(
            [server], load_on(server, clients=16, seconds=SHORT_SECONDS, min_operations=300)
        )
    assert_no_violation(trial, 300)


@pytest.mark.parametrize(
    ("bug", "kinds"),
    [
        ("stale_reads", {Violation.STALE}),
        ("early_answers", {Violation.FUTURE}),
        ("no_lock", {Violation.CHAIN, Violation.LOST}),
    ],
)
def test_control_planted_bug_is_found(data: Path, bug: str, kinds: set[Violation]) -> None:
    """The same load on a server with one planted bug reports a violation."""
    with Server(data, 2, uvicorn_of(f"tests.end_to_end.planted:{bug}")) as server:
        trial = run_trial(
            [server], load_on(server, clients=16, seconds=SHORT_SECONDS, min_operations=300)
        )
    assert kinds & trial.verdict.violations.keys(), f"{trial}"


def test_killed_workers_are_replaced(data: Path, command: Command) -> None:
    """After `kill -9` of all workers at once, as many serve again, with all events."""
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
    # Uvicorn's supervisor notices a worker that dies during a health check only after this time.
    deadline = time.monotonic() + HEALTH_SECONDS + STOP_SECONDS
    while server.worker_pids() & workers:
        assert time.monotonic() < deadline, "killed workers are still there"
        time.sleep(0.02)


async def _write(server: Server, count: int, name: str = "ann") -> Sequence[Answer]:
    """Register a user and create items concurrently; return the responses, all 201."""
    account = await Workload(load_on(server, clients=0)).create_account(name)
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


def test_requests_in_flight_at_sigterm_are_answered(data: Path, command: Command) -> None:
    """Writes that wait for the log at SIGTERM are written and answered."""
    with Server(data, 2, command) as server:
        answers = asyncio.run(_stop_in_flight(server, server.terminate))
        assert server.wait(STOP_SECONDS) == 0
    _assert_written(server, answers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_stops_refuses_new_clients_while_it_answers_others(
    data: Path, workers: int
) -> None:
    """They would wait for its end, and then be reset."""
    body = b'{"username": "ben", "email": "ben@example.org", "password": "correct horse"}'
    with Server(data, workers, by_serve) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=STOP_SECONDS)
        with hold_log_lock(server.log):
            client.request("POST", "/auth/register", body, {"Content-Type": "application/json"})
            wait_until(lambda: server.health()["queued"] == 1)
            server.terminate()
            wait_until(lambda: refuses_clients(server))
        assert client.getresponse().status == 200
        assert server.wait() == 0


def refuses_clients(server: Server) -> bool:
    """Whether nothing listens on the port of a server."""
    try:
        socket.create_connection(("127.0.0.1", server.port), STOP_SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_workers_exit_when_their_supervisor_is_killed(data: Path, command: Command) -> None:
    """They get no signal; they answer the requests they have and release the port."""
    orphans: set[int] = set()
    with Server(data, 2, command) as server:
        answers = asyncio.run(
            _stop_in_flight(server, lambda: orphans.update(server.kill_supervisor()))
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


async def _stop_in_flight(server: Server, end: Callable[[], None]) -> Sequence[Answer]:
    """Stop the server while writes wait for the lock; return their responses."""
    account = await Workload(load_on(server, clients=0)).create_account("ann")
    connections = [await Connection.open(server.port) for _ in range(24)]
    headers = {"Authorization": account.authorization}
    with hold_log_lock(server.log):
        writes = asyncio.gather(
            *(
                connection.request("POST", "/api/v2/items", {"title": "late"}, headers)
                for connection in connections
            )
        )
        await asyncio.sleep(0.5)
        end()
        await asyncio.sleep(1.0)
        assert not writes.done(), "the lock did not delay the writes"
    answers = await writes
    for connection in connections:
        connection.close()
    return answers


def test_sigterm_under_load_loses_no_write(data: Path) -> None:
    """Every acknowledged write is in the log, and the server exits within the limit."""

    def terminate(_: Workload) -> None:
        server.terminate()

    with Server(data, 4, by_serve) as server:
        # A keep-alive connection may be closed while the next request is on its way.
        workers = server.worker_pids()
        load = load_on(server, seconds=SHORT_SECONDS)
        trial = run_trial([server], load, forgiven=workers, during=terminate)
    assert_no_violation(trial, 300)
