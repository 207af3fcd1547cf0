"""Start, observe and stop a real server in separate processes."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
APP = "eventapi.app:create_app"

# Limits against hanging, far above what a busy machine needs; they do not measure speed.
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_PORTS = (10_000, 32_000)
_PAUSE_SECONDS = 0.02
_STATES_WITHOUT_FORKS = {b"T", b"Z", b""}
"""States in which a process cannot fork: stopped, zombie, gone."""

Command = Callable[[int, int], Sequence[str]]
"""Takes a port and a number of workers; returns the Python arguments of a server process."""


def uvicorn_of(app: str) -> Command:
    """Return a `Command` that serves an app factory with uvicorn."""

    def command(port: int, workers: int) -> Sequence[str]:
        arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return ["-m", "uvicorn", "--factory", app, "--log-level", "warning", *arguments]

    return command


by_uvicorn = uvicorn_of(APP)


def by_serve(port: int, workers: int) -> Sequence[str]:
    """Arguments of `eventapi serve`."""
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    return ["-m", "eventapi", "serve", *arguments]


@contextmanager
def hold_log_lock(log: Path) -> Iterator[None]:
    """Hold the lock of a log, so that no worker can write."""
    lock = os.open(log.with_name(f"{log.name}.lock"), os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def free_port() -> int:
    """Return a loopback port that no process listens on.

    The port lies below the ephemeral range. Otherwise a client that retries while the server is
    down could be assigned this port as its own and connect to itself.
    """
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server over a data directory; as a context: ready on entry, stopped on exit."""

    def __init__(
        self,
        data: Path,
        workers: int = 4,
        command: Command = by_uvicorn,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.data = data
        self._settings = settings
        self.workers = workers
        self.port = free_port()
        self._command = [sys.executable, *command(self.port, workers)]
        self._output = data.with_name(f"{data.name}-{self.port}.out")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self.data / "events.jsonl"

    @property
    def pid(self) -> int:
        """The process that was started: the supervisor, or the only worker."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def output_path(self) -> Path:
        """The file of everything that the server prints."""
        return self._output

    @property
    def output(self) -> str:
        """Everything that the server has printed so far."""
        return self._output.read_text(errors="replace")

    def __enter__(self) -> Self:
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start the server, or start it again, without waiting for it."""
        self.data.mkdir(parents=True, exist_ok=True)
        ours = {name: text for name, text in os.environ.items() if name[:9] != "EVENTAPI_"}
        settings = {
            "EVENTAPI_DATA": str(self.data),
            "EVENTAPI_RATE_LIMIT": "off",
            "EVENTAPI_RATE_LIMIT_LOGIN": "off",
            "EVENTAPI_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
            **self._settings,
        }
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.data,
                env=ours | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except TimeoutError:
            if error is None:
                raise

    def worker_pids(self) -> set[int]:
        """The worker processes, ready or not."""
        found = set()
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            for child in map(int, _read(task).split()):
                if b"resource_tracker" not in _read(Path(f"/proc/{child}/cmdline")):
                    found.add(child)
        return found or {self.pid}

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until every worker answers.

        Raises `TimeoutError`, or `RuntimeError` if the server has exited.
        """
        deadline = time.monotonic() + seconds
        answered: set[int] = set()
        while len(self.worker_pids() & answered) < self.workers:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the server has exited:\n{self.output}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all workers answered in {seconds} s:\n{self.output}")
            try:
                answered.add(self.health()["process"])
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE_SECONDS)

    def health(self, seconds: float = 5) -> dict[str, int]:
        """Return GET /health from the worker that accepts the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            if response.status != 200:
                raise http.client.HTTPException(f"health is {response.status}")
            found: dict[str, int] = json.loads(response.read())
            return found
        finally:
            connection.close()

    def terminate(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the exit code; on a timeout, kill the server and raise `TimeoutError`."""
        assert self._process is not None, "the server is not started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(
                f"the server did not exit within {seconds} s:\n{self.output}"
            ) from None

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM and wait for the exit code."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
        return self.wait(seconds)

    def kill_supervisor(self) -> set[int]:
        """Kill only the process that was started; return the workers that remain."""
        assert self._process is not None, "the server is not started"
        if self._process.poll() is not None:
            return set()
        # SIGSTOP first, because the supervisor may be about to start a worker that we would miss.
        self._process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while _state(self.pid) not in _STATES_WITHOUT_FORKS and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS / 10)
        workers = self.worker_pids() - {self.pid}
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        return workers

    def kill(self) -> None:
        """Kill every process of the server at once."""
        workers = self.kill_supervisor()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        wait_for_end(workers)


def wait_for_end(pids: set[int]) -> None:
    """Wait until none of these processes runs; raises `TimeoutError`."""
    deadline = time.monotonic() + STOP_SECONDS
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"some of the processes {pids} do not exit")
        time.sleep(_PAUSE_SECONDS)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not count."""
    return _state(pid) not in {b"", b"Z"}


def _state(pid: int) -> bytes:
    """The state letter of a process, empty if the process is gone."""
    stat = _read(Path(f"/proc/{pid}/stat"))
    return stat.rpartition(b")")[2].split()[0] if stat else b""


def _read(path: Path) -> bytes:
    """The content of a file under /proc, empty if the process is gone."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
