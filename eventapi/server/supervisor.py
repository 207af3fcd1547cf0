"""The parent of several workers: starts, replaces, restarts and stops them.

At SIGHUP all workers are replaced, one after another. This is uvicorn's supervisor, except that it
never waits for a worker. Uvicorn pings each worker and blocks until the answer, or until the time-out
after which the worker counts as hung. During that wait no signal is handled and no dead worker is
replaced. See docs/decisions/supervisor.md.
"""

from __future__ import annotations

import logging
import pickle
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.resource_tracker import ensure_running
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from eventapi.bootstrap.process import DAMAGED
from eventapi.server.signals import Terminal, handle_hangup, signal_name
from eventapi.server.starting import StartingServer
from events.io import startup as starting
from events.messages.server_log import NO_NEW_WORKER, WORKER_DIED

GRACE_SECONDS: Final = 10
"""How long requests may still take once the server is asked to stop."""

END_SECONDS: Final = GRACE_SECONDS + 5
"""A worker that has not ended so long after SIGTERM is killed."""

HEALTH_SECONDS: Final = 15
"""A worker that answers no ping for so long is replaced; importing takes less."""

_POLL_SECONDS: Final = 0.05
"""How long a ping is waited for; a later answer is received in the next loop."""

_LOOP_SECONDS: Final = 0.5

_log = logging.getLogger("uvicorn.error")


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in processes that are started here, until they install a handler.

    Ctrl-C reaches all processes of a terminal, and one that is importing would print a traceback.
    """
    ensure_running()  # A resource tracker that starts later would unblock the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker(Process):
    """A worker that is pinged without waiting for the answer."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], *, reports: bool = True
    ) -> None:
        """Of several workers that start at once, only one ``reports`` what all wait for."""
        super().__init__(config, sockets)
        self._reports = reports
        self._is_serving = False
        self._start_error: str | None = None
        self._pinged_at: float | None = None  # Without an answer yet; or asked to stop.

    def start(self) -> None:
        """Start the process."""
        with interrupts_blocked():
            super().start()
        self.child_conn.close()  # Else the pipe would not report the worker's end.

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the new process."""
        signal.signal(signal.SIGINT, self.server.handle_exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if not self._reports:
            starting.disable_reports()
        super().target(sockets)

    @property
    def server(self) -> uvicorn.Server:
        """The server, in the new process; it reports a failed start to the parent."""
        if self._server is None:
            self._server = _WorkerServer(self.config, self.child_conn)
        return self._server

    def start_error(self) -> str:
        """The reason of a worker that ended with `STARTUP_FAILURE`."""
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            while True:
                self._handle_message(self.parent_conn.recv())
        return self._start_error or "a worker could not start"

    def _handle_message(self, message: bool | str) -> None:
        """Store what a worker sent: whether it serves, or why it cannot start."""
        if isinstance(message, str):
            self._start_error = message
        else:
            self._is_serving = message

    def end(self) -> str:
        """Kill a worker that is dead or hung; return how it ended."""
        hangs = self.process.is_alive()
        self.kill()
        self.join()
        code = self.process.exitcode or 0
        if hangs:
            return f"gave no sign of life for {HEALTH_SECONDS} s and was killed"
        return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with code {code}"

    def is_alive(self, timeout: float = HEALTH_SECONDS) -> bool:
        """Whether the process runs and no ping is unanswered beyond the time-out."""
        self._poll()
        is_hung = self._pinged_at is not None and time.monotonic() - self._pinged_at > timeout
        return self.process.is_alive() and not is_hung

    def is_ready(self, timeout: float = _POLL_SECONDS) -> bool:
        """Whether the worker serves, by its last answer."""
        self._poll(timeout)
        return self._is_serving

    def _poll(self, seconds: float = _POLL_SECONDS) -> None:
        with suppress(OSError, EOFError, pickle.UnpicklingError):  # The worker may have ended.
            if self._pinged_at is None:
                self.parent_conn.send(b"ping")
                self._pinged_at = time.monotonic()
            if self.parent_conn.poll(seconds):
                self._handle_message(self.parent_conn.recv())
                self._pinged_at = None

    def terminate(self) -> None:
        """Ask the worker to stop."""
        self._pinged_at = time.monotonic()
        super().terminate()

    def join(self) -> None:
        """Wait for the end of the worker; kill it `END_SECONDS` after the request."""
        since = time.monotonic() if self._pinged_at is None else self._pinged_at
        self.process.join(max(since + END_SECONDS - time.monotonic(), 0))
        self.process.kill()
        self.process.join()


class _WorkerServer(StartingServer):
    """The server of a worker, which sends the reason of a failed start to the parent."""

    def __init__(self, config: uvicorn.Config, parent: Connection) -> None:
        super().__init__(config)
        self._parent = parent

    def on_start_failure(self, reason: str) -> None:
        with suppress(OSError):  # The parent may have ended.
            self._parent.send(reason)


class Supervisor(Multiprocess):
    """Keeps workers running, and restarts all of them at SIGHUP.

    ``announce`` is called once, when the first worker serves.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        self._terminal = Terminal()
        super().__init__(config, sockets)
        self.processes: list[Worker]  # type: ignore[assignment]  # a list of Worker
        self._announce: Callable[[], None] | None = announce
        self._retiring: list[Worker] = []
        self._successor: Worker | None = None
        self._stopping: list[Worker] = []
        self.was_interrupted = False
        self.start_error: str | None = None
        self.found_damage = False
        """Whether a worker found out that the log is damaged."""
        handle_hangup(lambda number, _: self.signal_queue.append(number))

    def run(self) -> None:
        """Serve until asked to stop, or until a worker cannot start or finds damage.

        Workers stop even after an error, such as one of the output. Otherwise the interpreter would
        wait for them at its end, and they for the end of their parent.
        """
        try:
            self.init_processes()
            while not self.should_exit.wait(_LOOP_SECONDS):
                self.handle_signals()
                self.keep_subprocess_alive()
        finally:
            # Clients are refused, instead of waiting for processes that end.
            for one in self.sockets:
                one.close()
            self.terminate_all()
            self.join_all()

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._start_worker(reports=n == 0) for n in range(self.processes_num)]

    def _start_worker(self, *, reports: bool = True) -> Worker:
        worker = Worker(self.config, self.sockets, reports=reports)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Replace dead and hung workers; called in each loop after the signals."""
        if self.should_exit.is_set():
            return
        for index, worker in enumerate(self.processes):
            if worker.is_alive(HEALTH_SECONDS):
                continue
            if worker.exitcode == STARTUP_FAILURE:
                self.start_error = worker.start_error()
                self.should_exit.set()  # A replacement could not start either.
                return
            end = worker.end()
            if self._is_end_of_all(worker):
                return
            _log.warning(WORKER_DIED.fill(pid=worker.pid, end=end))
            self.processes[index] = self._start_worker()
        if self._announce is not None and any(worker.is_ready() for worker in self.processes):
            self._announce()
            self._announce = None
        self._kill_overdue()
        self._continue_restart()

    def _is_end_of_all(self, worker: Worker) -> bool:
        """Whether a worker that has ended found damage of the log; then all workers stop.

        The others have not found it yet, and would continue to write. A worker in its place would
        fold the whole log before it refuses it.
        """
        if worker.exitcode != DAMAGED:
            return False
        self.found_damage = True
        self.should_exit.set()
        return True

    def _kill_overdue(self) -> None:
        for worker in [one for one in self._stopping if not one.is_alive(END_SECONDS)]:
            worker.kill()
            worker.join()
            self._stopping.remove(worker)
            self._is_end_of_all(worker)

    def _continue_restart(self) -> None:
        """Take the next step of a rolling restart; a replay may take any time."""
        successor = self._successor
        # Workers that died during the restart were replaced already.
        self._retiring = [process for process in self._retiring if process in self.processes]
        if successor is None and self._retiring and not self._stopping:
            self._successor = self._start_worker()
        elif successor is not None and not successor.is_alive(HEALTH_SECONDS):
            why = (
                successor.start_error()
                if successor.exitcode == STARTUP_FAILURE
                else successor.end()
            )
            if self._is_end_of_all(successor):
                return
            _log.error(NO_NEW_WORKER.fill(reason=why))
            self._stop_worker(successor)
            self._retiring, self._successor = [], None
        elif successor is not None and successor.is_ready():
            self._successor = None
            leaving = successor
            if self._retiring:
                leaving = self._retiring.pop(0)
                self.processes[self.processes.index(leaving)] = successor
            self._stop_worker(leaving)

    def _stop_worker(self, worker: Worker) -> None:
        """Ask a worker to stop; kill one that replays, because it would finish first."""
        if worker.is_ready():
            worker.terminate()
        else:
            worker.kill()
        self._stopping.append(worker)

    def terminate_all(self) -> None:
        """Ask all workers to stop."""
        for worker in (*self.processes, *filter(None, [self._successor])):
            self._stop_worker(worker)

    def join_all(self) -> None:
        """Wait until all have ended."""
        for worker in self._stopping:
            worker.join()

    def handle_hup(self) -> None:
        """Replace every worker, also a successor, which may have read older code.

        Stop instead if the terminal was closed.
        """
        if self._terminal.was_closed():
            self.handle_term()
            return
        if self._successor is not None:
            self._stop_worker(self._successor)
            self._successor = None
        self._retiring = list(self.processes)

    def handle_ttin(self) -> None:
        """Add a worker."""
        self.processes_num += 1
        self.processes.append(self._start_worker())

    def handle_ttou(self) -> None:
        """Remove a worker, unless it is the last."""
        if self.processes_num > 1:
            self.processes_num -= 1
            self._stop_worker(self.processes.pop())

    def handle_int(self) -> None:
        """Stop as at SIGTERM, and record that SIGINT was the reason."""
        self.was_interrupted = True
        super().handle_int()
