"""The parent of several workers: it replaces the dead, and at SIGHUP all of them, and ends them.

Uvicorn's supervisor, but for one thing: it never waits for a worker. Uvicorn asks each of them for
a sign of life and waits for it, up to the limit after which it takes a worker to hang. One that is
killed while it is asked, which is as long as it takes to start, gives none; and meanwhile no signal
is obeyed and no other dead worker is replaced.
"""

from __future__ import annotations

import logging
import pickle
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

GRACE_SECONDS: Final = 10
"""How long a request may still take once the server is asked to stop."""

END_SECONDS: Final = GRACE_SECONDS + 5
"""A worker that was asked to end and has not by then never will, and is killed."""

HEALTH_SECONDS: Final = 15
"""A worker that says nothing for so long is replaced; one that is still importing is not that."""

_ANSWER_SECONDS: Final = 0.05
"""A worker that has nothing else to do has answered by then; the others are heard a turn later."""

_log = logging.getLogger("uvicorn.error")


class Worker(Process):
    """A worker that is asked how it is, and heard when it answers."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._serves = False
        self._owing_since: float | None = None  # An answer, or its end.

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
                self._serves = self.parent_conn.recv()
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


class Supervisor(Multiprocess):
    """Keeps so many workers, replaces them all at SIGHUP, and says when the first one serves."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._announce: Callable[[], None] | None = announce
        self._retiring: list[Process] = []
        self._successor: Process | None = None
        self._leaving: list[Process] = []
        self.was_interrupted = False

    @property
    def could_not_start(self) -> bool:
        """Whether a worker gave up before it served."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Look after the workers, at every turn between the signals."""
        if self.should_exit.is_set():
            return
        for index, worker in enumerate(self.processes):
            if worker.is_alive(HEALTH_SECONDS):
                continue
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                _log.error("a worker could not start")
                self.should_exit.set()  # Nor could the next one.
                return
            _log.info("worker [%s] died or hung, another takes its place", worker.pid)
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
            _log.error("a new worker could not start: the old ones go on")
            self._leave(successor)
            self._retiring, self._successor = [], None
        elif successor is not None and successor.is_ready():
            self._successor = None
            leaving = successor
            if self._retiring:
                leaving = self._retiring.pop(0)
                self.processes[self.processes.index(leaving)] = successor
            self._leave(leaving)

    def _leave(self, worker: Process) -> None:
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
        """Replace every worker; a successor that was started already may have read older code."""
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
