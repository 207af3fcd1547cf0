"""The supervisor of several workers never waits for one of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import pytest
import uvicorn

from eventapi.bootstrap.process import DAMAGED, FENCED
from eventapi.server.supervisor import Supervisor, Worker
from tests.end_to_end.server import Command, Server, is_running

SECONDS = 30.0
PATIENT = 3600
"""A time-out that no test reaches."""


def serving(**limits: int) -> Command:
    """The command that serves, with other limits."""

    def command(port: int, workers: int) -> Sequence[str]:
        changed = [f"supervisor.{name} = {value}" for name, value in limits.items()]
        arguments = ["serve", "--port", str(port), "--workers", str(workers)]
        lines = [
            "from eventapi.cli import main\nfrom eventapi.server import supervisor",
            *changed,
            f"main.program.main({arguments!r})",
        ]
        return ["-c", "\n".join(lines)]

    return command


def stop_worker(server: Server) -> int:
    """Stop one of the workers, and return its id once it was pinged."""
    hanging = min(server.worker_pids())
    os.kill(hanging, signal.SIGSTOP)
    time.sleep(1)  # More than a loop of the supervisor, or the test would test nothing.
    return hanging


def until_replaced(server: Server, worker: int) -> None:
    deadline = time.monotonic() + SECONDS
    while worker in server.worker_pids() or len(server.worker_pids()) < server.workers:
        assert time.monotonic() < deadline, "the worker is not replaced"
        time.sleep(0.02)
    server.wait_until_ready()


@pytest.mark.long
def test_a_worker_that_is_killed_after_a_ping_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 2, serving(HEALTH_SECONDS=PATIENT)) as server:
        hanging = stop_worker(server)
        os.kill(hanging, signal.SIGKILL)
        until_replaced(server, hanging)
        assert (
            f"warning  uvicorn.error: worker [{hanging}] was killed by SIGKILL, another takes its place"
            in server.output
        )
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("raise SystemExit(74)", "ended with code 74"),
        ("pass", "ended with code 0"),
        ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
    ],
)
def test_the_end_of_a_worker_is_reported_with_its_signal_or_exit_code(
    program: str, outcome: str
) -> None:
    worker = Worker(uvicorn.Config("nothing"), [])
    worker.process = get_context("spawn").Process(target=exec, args=(program,))
    worker.process.start()
    worker.process.join()
    assert worker.end() == outcome


class FakeWorker(Worker):
    """A worker without a process, which has ended if it has an exit code."""

    exitcode: int | None = None
    pid = 1

    def __init__(
        self, exitcode: int | None = None, while_polled: Callable[[], None] = lambda: None
    ) -> None:
        self.exitcode = exitcode
        self._while_polled = while_polled

    def is_alive(self, timeout: float = 0) -> bool:
        is_alive = self.exitcode is None
        self._while_polled()
        return is_alive

    def is_ready(self, timeout: float = 0) -> bool:
        return self.exitcode is None

    def end(self) -> str:
        return f"ended with code {self.exitcode}"

    def die_of_damage(self) -> None:
        self.exitcode = DAMAGED

    def do_nothing(self) -> None:
        pass

    kill = join = terminate = do_nothing


class FakeSupervisor(Supervisor):
    """A supervisor that counts the workers that it starts."""

    def __init__(self, *workers: FakeWorker) -> None:
        super().__init__(uvicorn.Config("nothing", workers=len(workers)), [], lambda: None)
        self.processes = list(workers)
        self.started = 0

    def _start_worker(self, *, reports: bool = True) -> Worker:
        self.started += 1
        return FakeWorker()

    @property
    def outcome(self) -> tuple[bool, bool, int]:
        """Whether damage was found, whether all workers stop, and how many were started."""
        return self.found_damage, self.should_exit.is_set(), self.started


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that a supervisor replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
    before = {number: signal.getsignal(number) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.usefixtures("signal_handlers")
def test_damage_found_by_a_worker_ends_all() -> None:
    supervisor = FakeSupervisor(FakeWorker(), FakeWorker(DAMAGED))
    supervisor.keep_subprocess_alive()
    assert supervisor.outcome == (True, True, 0)


@pytest.mark.usefixtures("signal_handlers")
def test_a_worker_that_ended_otherwise_is_replaced() -> None:
    supervisor = FakeSupervisor(FakeWorker(), FakeWorker(FENCED))
    supervisor.keep_subprocess_alive()
    assert supervisor.outcome == (False, False, 1)


@pytest.mark.usefixtures("signal_handlers")
def test_damage_found_while_another_worker_is_polled_ends_all() -> None:
    finder = FakeWorker()
    supervisor = FakeSupervisor(FakeWorker(while_polled=finder.die_of_damage), finder)
    supervisor.keep_subprocess_alive()
    assert supervisor.outcome == (True, True, 0)


@pytest.mark.usefixtures("signal_handlers")
def test_damage_found_by_the_successor_in_a_rolling_restart_ends_all() -> None:
    successor = FakeWorker()
    worker = FakeWorker(while_polled=successor.die_of_damage)
    supervisor = FakeSupervisor(worker)
    supervisor._retiring, supervisor._successor = [worker], successor
    supervisor.keep_subprocess_alive()
    assert supervisor.outcome == (True, True, 0)


@pytest.mark.usefixtures("signal_handlers")
def test_damage_found_by_a_worker_that_was_asked_to_stop_ends_all() -> None:
    supervisor = FakeSupervisor(FakeWorker())
    supervisor._stopping = [FakeWorker(DAMAGED)]
    supervisor.keep_subprocess_alive()
    assert supervisor.outcome == (True, True, 0)


@pytest.mark.long
def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 2, serving(HEALTH_SECONDS=5)) as server:
        until_replaced(server, stop_worker(server))
        assert "gave no sign of life for 5 s and was killed, another takes" in server.output
        assert server.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stops_although_a_worker_hangs(tmp_path: Path, how: signal.Signals) -> None:
    limits = {"HEALTH_SECONDS": PATIENT, "END_SECONDS": 1}
    with Server(tmp_path / "data", 2, serving(**limits)) as server:
        workers = server.worker_pids()
        stop_worker(server)
        os.kill(server.pid, how)
        assert server.wait() == (0 if how == signal.SIGTERM else 130)
    assert not any(map(is_running, workers))


@pytest.mark.long
def test_a_dead_worker_is_replaced_while_another_hangs(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 3, serving(HEALTH_SECONDS=PATIENT)) as server:
        hanging = stop_worker(server)
        killed = max(server.worker_pids())
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + SECONDS
        while killed in server.worker_pids() or len(server.worker_pids()) < server.workers:
            assert time.monotonic() < deadline, "the dead worker is not replaced"
            time.sleep(0.02)
        os.kill(hanging, signal.SIGCONT)
        assert server.stop() == 0


@pytest.mark.long
def test_signals_add_and_remove_workers(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 2, serving()) as server:
        for sign, count in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2)):
            os.kill(server.pid, sign)
            deadline = time.monotonic() + SECONDS
            while len(server.worker_pids()) != count:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert server.stop() == 0
