"""New code takes over from old without a moment in which nobody serves."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from events.vocabulary.items import Content
from tests.end_to_end.server import ROOT, Server, by_serve, is_running
from tests.eventapi.cli.running import invoke, written

SECONDS = 90.0
EVENTS = 400


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The code in a place where it may be changed."""
    folder = tmp_path / "code"
    for package in ("eventapi", "events", "projections"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), *[CreateItem(1, Content("x" * 50))] * EVENTS)
    assert invoke(folder, "snapshot").exit_code == 0
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def asking(server: Server, seconds: float = 5) -> Iterator[tuple[list[Any], list[object]]]:
    """Ask for the health without a pause; who answered, and what went wrong."""
    answers: list[Any] = []
    failures: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(server.health(seconds))
            except ConnectionResetError:
                pass  # Accepted by a worker that ended: who serves HTTP/1.1 may do so.
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)
            time.sleep(0.01)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers, failures
    finally:
        done.set()
        asker.join()


def test_a_changed_projection_is_rebuilt_while_the_old_workers_serve(
    code: Path, data: Path
) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        # Another projection, and one that takes its time: a pause after every few lines.
        edit(
            code / "projections" / "replay.py",
            "                progress(state.position)\n    _forget",
            "                progress(state.position)\n"
            "            await asyncio.sleep(0.1)\n    _forget",
        )
        edit(
            code / "events" / "log" / "file" / "lines.py",
            "BYTES_PER_RUN: Final = 1 << 17",
            "BYTES_PER_RUN = 9000",
        )
        with asking(server) as (_, failures):
            os.kill(server.pid, signal.SIGHUP)
            until(lambda: "another version of the code wrote it" in server.output)
            assert server.health()["process"] in old
            until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
            server.wait_until_ready()
        assert failures == []


def test_new_code_that_cannot_start_changes_nothing(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        edit(
            code / "eventapi" / "journal.py", '"""The journal', 'raise ImportError\n"""The journal'
        )
        with asking(server) as (_, failures):
            os.kill(server.pid, signal.SIGHUP)
            until(lambda: "a new worker could not start" in server.output)
        assert failures == []
        assert server.worker_pids() == old


def test_a_server_that_is_asked_to_end_meanwhile_ends(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        edit(
            code / "eventapi" / "storage.py",
            "            await journal.start(",
            "            import asyncio\n            await asyncio.sleep(60)\n"
            "            await journal.start(",
        )
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(server.worker_pids()) == 3)
        workers = server.worker_pids()
        assert server.stop() == 0
        for pid in workers:
            assert not is_running(pid)


def test_asked_again_it_starts_with_the_code_as_it_is_now(code: Path, data: Path) -> None:
    with Server(data, 2, by_serve, {"PYTHONPATH": str(code)}) as server:
        old = server.worker_pids()
        slow = "            import asyncio\n            await asyncio.sleep(3600)\n"
        place = "            await journal.start("
        edit(code / "eventapi" / "storage.py", place, slow + place)
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(server.worker_pids()) == 3)
        old |= server.worker_pids()
        edit(code / "eventapi" / "storage.py", slow, "")
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
        server.wait_until_ready()
        assert server.stop() == 0


def is_told(answers: list[Any], queued: int) -> bool:
    return bool(answers) and answers[-1]["queued"] == queued


def test_one_worker_starts_anew_and_refuses_no_connection(code: Path, data: Path) -> None:
    """Same process, same socket, new code; connections that arrive meanwhile wait."""
    with Server(data, 1, by_serve, {"PYTHONPATH": str(code)}) as server:
        for number in (77, 78):
            edit(
                code / "eventapi" / "app.py",
                f'"queued": {"journal.queued" if number == 77 else 77}',
                f'"queued": {number}',
            )
            with asking(server, SECONDS) as (answers, failures):
                os.kill(server.pid, signal.SIGHUP)
                until(partial(is_told, answers, number))
            assert failures == []
            assert {answer["process"] for answer in answers} == {server.pid}
        assert server.stop() == 0
        assert "Traceback" not in server.output


def test_one_worker_finishes_its_requests_before_it_starts_anew(data: Path) -> None:
    """A write that waits for the lock of the log is written and answered."""
    with Server(data, 1, by_serve) as server:
        lock = os.open(server.log.with_name("events.jsonl.lock"), os.O_RDWR)
        body = b'{"username": "ben", "email": "ben@example.org", "password": "correct horse"}'
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            connection.request("POST", "/auth/register", body, {"Content-Type": "application/json"})
            until(lambda: server.health()["queued"] == 1)
            os.kill(server.pid, signal.SIGHUP)
            until(lambda: cannot_be_asked(server))
        finally:
            os.close(lock)
        assert connection.getresponse().status == 200
        server.wait_until_ready()
        assert server.health()["position"] == EVENTS + 2
        assert server.stop() == 0


def cannot_be_asked(server: Server) -> bool:
    """Whether it accepts no connection for now, though none is refused."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), 0.3) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            return not connection.recv(1)
    except TimeoutError:
        return True
    except ConnectionResetError:  # It was accepted in the moment of the stop.
        return False


def test_one_worker_that_is_still_starting_starts_anew_at_once(code: Path, data: Path) -> None:
    slow = "            import time\n            Path('folding').touch()\n            time.sleep(3600)\n"
    place = "            await journal.start("
    edit(code / "eventapi" / "storage.py", place, slow + place)
    server = Server(data, 1, by_serve, {"PYTHONPATH": str(code)})
    server.launch()
    try:
        until((data / "folding").exists)
        edit(code / "eventapi" / "storage.py", slow, "")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_until_ready()
        assert server.stop() == 0
    finally:
        server.kill()
