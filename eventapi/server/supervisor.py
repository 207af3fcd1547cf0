"""The parent of several workers: it replaces the dead, and at SIGHUP all of them, and ends them.

Uvicorn's supervisor, but for one thing: it never waits for a worker. Uvicorn asks each of them for
a sign of life and waits for it, up to the limit after which it takes a worker to hang. One that
hangs, or is still importing, gives none; and meanwhile no signal is obeyed and no dead worker is
replaced.
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

from eventapi.server.signals import Terminal, handle_hangup, signal_name
from eventapi.server.starting import StartingServer
from events.io import startup as starting
from events.messages.server_log import NO_NEW_WORKER, WORKER_DIED

GRACE_SECONDS: Final = 10
"""How long a request may still take once the server is asked to stop."""

END_SECONDS: Final = GRACE_SECONDS + 5
"""A worker that was asked to end and has not by then never will, and is killed."""

HEALTH_SECONDS: Final = 15
"""A worker that says nothing for so long is replaced; one that is still importing is not that."""

_ANSWER_SECONDS: Final = 0.05
"""A worker that has nothing else to do has answered by then; the others are heard a turn later."""

_TURN_SECONDS: Final = 0.5

_log = logging.getLogger("uvicorn.error")


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Start processes with SIGINT blocked until they have a handler.

    Ctrl-C reaches them too, and one that is still importing would print a traceback.
    """
    ensure_running()  # Else it is started next, and unblocks the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker(Process):
    """A worker that is asked how it is, and heard when it answers."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], *, reports: bool = True
    ) -> None:
        """One of several that start at once ``reports`` what all of them wait for."""
        super().__init__(config, sockets)
        self._reports = reports
        self._serves = False
        self._refusal: str | None = None
        self._owing_since: float | None = None  # An answer, or its end.

    def start(self) -> None:
        """Start the process."""
        with interrupts_blocked():
            super().start()
        self.child_conn.close()  # So the end of the worker is the end of the pipe.

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """In the new process: serve."""
        signal.signal(signal.SIGINT, self.server.handle_exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if not self._reports:
            starting.disable_reports()
        super().target(sockets)

    @property
    def server(self) -> uvicorn.Server:
        """In the new process: the server, which reports to the parent why it cannot start."""
        if self._server is None:
            self._server = _WorkerServer(self.config, self.child_conn)
        return self._server

    def refusal(self) -> str:
        """Why a worker that ended with `STARTUP_FAILURE` could not start."""
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            while True:
                self._hear(self.parent_conn.recv())
        return self._refusal or "a worker could not start"

    def _hear(self, message: bool | str) -> None:
        """Take what a worker sent: whether it serves, or why it cannot start."""
        if isinstance(message, str):
            self._refusal = message
        else:
            self._serves = message

    def end(self) -> str:
        """End a worker that is dead or hangs; returns what became of it."""
        hangs = self.process.is_alive()
        self.kill()
        self.join()
        code = self.process.exitcode or 0
        if hangs:
            return f"gave no sign of life for {HEALTH_SECONDS} s and was killed"
        return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with code {code}"

    def is_alive(self, timeout: float = HEALTH_SECONDS) -> bool:
        """Whether it runs, and has owed nothing for longer than so many seconds."""
        self._listen()
        owes = self._owing_since is not None and time.monotonic() - self._owing_since > timeout
        return self.process.is_alive() and not owes

    def is_ready(self, timeout: float = _ANSWER_SECONDS) -> bool:
        """Whether the last that it said is that it serves."""
        self._listen(timeout)
        return self._serves

    def _listen(self, seconds: float = _ANSWER_SECONDS) -> None:
        with suppress(OSError, EOFError, pickle.UnpicklingError):  # It may have gone.
            if self._owing_since is None:
                self.parent_conn.send(b"ping")
                self._owing_since = time.monotonic()
            if self.parent_conn.poll(seconds):
                self._hear(self.parent_conn.recv())
                self._owing_since = None

    def terminate(self) -> None:
        """Ask it to end."""
        self._owing_since = time.monotonic()
        super().terminate()

    def join(self) -> None:
        """Wait until it has ended: of itself where it was asked to, and else by force."""
        since = time.monotonic() if self._owing_since is None else self._owing_since
        self.process.join(max(since + END_SECONDS - time.monotonic(), 0))
        self.process.kill()
        self.process.join()


class _WorkerServer(StartingServer):
    """The server of a worker, which leaves it to the parent to print why it cannot start."""

    def __init__(self, config: uvicorn.Config, parent: Connection) -> None:
        super().__init__(config)
        self._parent = parent

    def refused(self, reason: str) -> None:
        with suppress(OSError):  # The parent may have gone.
            self._parent.send(reason)


class Supervisor(Multiprocess):
    """Keeps so many workers, replaces them all at SIGHUP, and says when the first one serves."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        self._terminal = Terminal()
        super().__init__(config, sockets)
        self.processes: list[Worker]  # type: ignore[assignment]  # all of them are
        self._announce: Callable[[], None] | None = announce
        self._retiring: list[Worker] = []
        self._successor: Worker | None = None
        self._leaving: list[Worker] = []
        self.was_interrupted = False
        self.refusal: str | None = None
        handle_hangup(lambda number, _: self.signal_queue.append(number))

    def run(self) -> None:
        """Serve until asked to end, or until a worker cannot start."""
        self.init_processes()
        while not self.should_exit.wait(_TURN_SECONDS):
            self.handle_signals()
            self.keep_subprocess_alive()
        self.terminate_all()
        self.join_all()

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._started(reports=n == 0) for n in range(self.processes_num)]

    def _started(self, *, reports: bool = True) -> Worker:
        worker = Worker(self.config, self.sockets, reports=reports)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Look after the workers, at every turn between the signals."""
        if self.should_exit.is_set():
            return
        for index, worker in enumerate(self.processes):
            if worker.is_alive(HEALTH_SECONDS):
                continue
            if worker.exitcode == STARTUP_FAILURE:
                self.refusal = worker.refusal()
                self.should_exit.set()  # Nor could the next one.
                return
            _log.warning(WORKER_DIED.fill(pid=worker.pid, end=worker.end()))
            self.processes[index] = self._started()
        if self._announce is not None and any(worker.is_ready() for worker in self.processes):
            self._announce()
            self._announce = None
        self._see_off_leaving()
        self._replace_retiring()

    def _see_off_leaving(self) -> None:
        for worker in [one for one in self._leaving if not one.is_alive(END_SECONDS)]:
            worker.kill()
            worker.join()
            self._leaving.remove(worker)

    def _replace_retiring(self) -> None:
        """Go on with replacing the workers, one after another, however long the new ones fold."""
        successor = self._successor
        # Who died since was replaced already.
        self._retiring = [process for process in self._retiring if process in self.processes]
        if successor is None and self._retiring and not self._leaving:
            self._successor = self._started()
        elif successor is not None and not successor.is_alive(HEALTH_SECONDS):
            why = successor.refusal() if successor.exitcode == STARTUP_FAILURE else successor.end()
            _log.error(NO_NEW_WORKER.fill(reason=why))
            self._leave(successor)
            self._retiring, self._successor = [], None
        elif successor is not None and successor.is_ready():
            self._successor = None
            leaving = successor
            if self._retiring:
                leaving = self._retiring.pop(0)
                self.processes[self.processes.index(leaving)] = successor
            self._leave(leaving)

    def _leave(self, worker: Worker) -> None:
        """Ask a worker to end; one that does not serve yet would fold the log to its end first."""
        if worker.is_ready():
            worker.terminate()
        else:
            worker.kill()
        self._leaving.append(worker)

    def terminate_all(self) -> None:
        """Ask all workers to end."""
        for worker in (*self.processes, *filter(None, [self._successor])):
            self._leave(worker)

    def join_all(self) -> None:
        """Wait until all have ended."""
        for worker in self._leaving:
            worker.join()

    def handle_hup(self) -> None:
        """Replace every worker; a successor that was started already may have read older code.

        Where only the terminal was closed, end.
        """
        if self._terminal.is_gone():
            self.handle_term()
            return
        if self._successor is not None:
            self._leave(self._successor)
            self._successor = None
        self._retiring = list(self.processes)

    def handle_ttin(self) -> None:
        """Keep one worker more."""
        self.processes_num += 1
        self.processes.append(self._started())

    def handle_ttou(self) -> None:
        """Keep one worker less, but one."""
        if self.processes_num > 1:
            self.processes_num -= 1
            self._leave(self.processes.pop())

    def handle_int(self) -> None:
        """End as at SIGTERM, and remember by what."""
        self.was_interrupted = True
        super().handle_int()
