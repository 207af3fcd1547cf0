"""SIGHUP replaces workers with new code without interrupting service."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.end_to_end.server import ROOT, Server, by_serve, hold_log_lock, is_running
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import PROGRAM, clean_environment, invoke, written

SECONDS = 90.0
EVENTS = 400


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the code that the test may edit, with the compiled modules."""
    folder = tmp_path / "code"
    for package in ("eventapi", "events", "projections"):
        ignored = shutil.ignore_patterns("*.pyc.*")  # A process is writing them.
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), *[create_item(1, Content("x" * 50))] * EVENTS)
    assert invoke(folder, "snapshot").exit_code == 0
    return folder


def edit(code: Path, old: str, new: str) -> None:
    """Replace text in the only module of the code that has it."""
    texts = {file: file.read_text() for file in code.rglob("*.py")}
    (file,) = (file for file, text in texts.items() if old in text)
    file.write_text(texts[file].replace(old, new))


@contextmanager
def polling_health(server: Server, seconds: float = 5) -> Iterator[tuple[list[Any], list[object]]]:
    """Request /health repeatedly in a thread; yield the responses and the failures."""
    answers: list[Any] = []
    failures: list[object] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            try:
                answers.append(server.health(seconds))
            except ConnectionResetError:
                pass  # A worker that exits may reset accepted connections; HTTP/1.1 allows it.
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)
            time.sleep(0.01)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield answers, failures
    finally:
        done.set()
        thread.join()


def test_changed_projection_is_rebuilt_while_old_workers_serve(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        # A changed projection whose replay is slow: a pause after every few lines.
        reports = "                progress(state.position)\n"
        edit(code, reports, f"{reports}            await asyncio.sleep(0.1)\n")
        edit(code, "BYTES_PER_RUN: Final = 1 << 17", "BYTES_PER_RUN = 9000")
        with polling_health(server) as (_, failures):
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: "another version of the code wrote it" in server.output)
            assert server.health()["process"] in old
            wait_until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
            server.wait_until_ready()
        assert failures == []


def test_new_workers_start_from_a_snapshot_that_the_new_code_took(code: Path, data: Path) -> None:
    """The control is the test before: without that snapshot they fold the log."""
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        edit(code, '"""The tables, as of one position', '"""All tables, as of one position')
        environment = clean_environment(PYTHONPATH=str(code), EVENTAPI_DATA=str(data))
        subprocess.run([*PROGRAM, "snapshot"], env=environment, cwd=data, check=True)

        os.kill(server.pid, signal.SIGHUP)

        wait_until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
        server.wait_until_ready()
        assert "another version of the code wrote it" not in server.output


def test_new_code_that_cannot_start_leaves_old_workers_running(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        edit(code, "class Journal:", "raise ImportError\n\n\nclass Journal:")
        with polling_health(server) as (_, failures):
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: "a new worker could not start" in server.output)
        assert failures == []
        assert server.worker_pids() == old


def test_sigterm_during_a_takeover_stops_the_server(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        edit(
            code,
            "            await journal.start(",
            "            import asyncio\n            await asyncio.sleep(60)\n"
            "            await journal.start(",
        )
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: len(server.worker_pids()) == 3)
        workers = server.worker_pids()
        assert server.stop() == 0
        for pid in workers:
            assert not is_running(pid)


def test_second_sighup_restarts_the_takeover_with_the_newest_code(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        slow = "            import asyncio\n            await asyncio.sleep(3600)\n"
        place = "            await journal.start("
        edit(code, place, slow + place)
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: len(server.worker_pids()) == 3)
        old |= server.worker_pids()
        edit(code, slow, "")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
        server.wait_until_ready()
        assert server.stop() == 0


def reports_queue(answers: list[Any], queued: int) -> bool:
    return bool(answers) and answers[-1]["queued"] == queued


def test_single_worker_restarts_without_refusing_connections(code: Path, data: Path) -> None:
    """Same process, same socket, new code; new connections wait during the restart."""
    with Server(data, 1, by_serve, {"PYTHONPATH": str(code)}) as server:
        for number in (77, 78):
            edit(
                code,
                f'"queued": {"journal.queued" if number == 77 else 77}',
                f'"queued": {number}',
            )
            with polling_health(server, SECONDS) as (answers, failures):
                os.kill(server.pid, signal.SIGHUP)
                wait_until(partial(reports_queue, answers, number))
            assert failures == []
            assert {answer["process"] for answer in answers} == {server.pid}
        assert server.stop() == 0
        assert "Traceback" not in server.output


def test_single_worker_answers_its_requests_before_it_restarts(data: Path) -> None:
    """A write that waits for the log's lock is written and answered."""
    with Server(data, 1, by_serve) as server:
        body = b'{"username": "ben", "email": "ben@example.org", "password": "correct horse"}'
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        with hold_log_lock(server.log):
            connection.request("POST", "/auth/register", body, {"Content-Type": "application/json"})
            wait_until(lambda: server.health()["queued"] == 1)
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: accepts_no_connection(server))
        assert connection.getresponse().status == 200
        server.wait_until_ready()
        assert server.health()["position"] == EVENTS + 2
        assert server.stop() == 0


def accepts_no_connection(server: Server) -> bool:
    """Whether the server neither answers nor refuses a connection."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), 0.3) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            return not connection.recv(1)
    except TimeoutError:
        return True
    except ConnectionResetError:  # It was accepted at the moment of the stop.
        return False


def test_single_worker_that_is_still_starting_restarts_at_once(code: Path, data: Path) -> None:
    touch = f"open({str(data / 'folding')!r}, 'w').close()"
    slow = f"            import time\n            {touch}\n            time.sleep(3600)\n"
    place = "            await journal.start("
    edit(code, place, slow + place)
    server = Server(data, 1, by_serve, {"PYTHONPATH": str(code)})
    server.launch()
    try:
        wait_until((data / "folding").exists)
        edit(code, slow, "")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_until_ready()
        assert server.stop() == 0
    finally:
        server.kill()
