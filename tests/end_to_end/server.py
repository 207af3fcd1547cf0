"""A real server in processes of its own: started, watched and ended from outside."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
APP = "eventapi.app:create_app"

# No measure of speed: what takes longer hangs, however busy the machine is.
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_PORTS = (10_000, 32_000)
_PAUSE_SECONDS = 0.02
_STANDING = {b"T", b"Z", b""}
"""States in which a process starts no others."""

Command = Callable[[int, int], Sequence[str]]
"""From a port and a number of workers to the arguments of a process that serves there."""


def uvicorn_of(app: str) -> Command:
    """How uvicorn serves an app factory."""

    def command(port: int, workers: int) -> Sequence[str]:
        arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return ["-m", "uvicorn", "--factory", app, "--log-level", "warning", *arguments]

    return command


by_uvicorn = uvicorn_of(APP)


def by_serve(port: int, workers: int) -> Sequence[str]:
    """How our own command serves."""
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    return ["-m", "eventapi", "serve", *arguments]


def free_port() -> int:
    """A port of the loopback that nobody listens on.

    Not one that the system gives to whoever connects: while the server is down, a client that
    tries again and again would in the end be given the very port, and be connected to itself.
    """
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server over a data directory, as a context: up on entry, ended on exit."""

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
    def log(self) -> Path:
        """The log's file."""
        return self.data / "events.jsonl"

    @property
    def pid(self) -> int:
        """The process that was started: the workers' parent, or the one worker itself."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def output(self) -> str:
        """All that the server has said so far."""
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
        """Start the server, again if it was started before, and wait for nothing."""
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
        """The processes that serve, whether they are ready or not."""
        found = set()
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            for child in map(int, _read(task).split()):
                if b"resource_tracker" not in _read(Path(f"/proc/{child}/cmdline")):
                    found.add(child)
        return found or {self.pid}

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when every worker answers; raises `TimeoutError`, or `RuntimeError` at an end."""
        deadline = time.monotonic() + seconds
        answered: set[int] = set()
        while len(self.worker_pids() & answered) < self.workers:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the server has ended:\n{self.output}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all workers answered in {seconds} s:\n{self.output}")
            try:
                answered.add(self.health()["process"])
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE_SECONDS)

    def health(self, seconds: float = 5) -> dict[str, int]:
        """What whichever worker is quickest to accept says of itself."""
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
        """Ask the server to end."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code once the server has ended; raises `TimeoutError`, and ends it by force."""
        assert self._process is not None, "the server is not started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"no end within {seconds} s:\n{self.output}") from None

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask the server to end and wait for it; the exit code."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
        return self.wait(seconds)

    def kill_supervisor(self) -> set[int]:
        """End the process that was started, and no other; the workers that are left."""
        assert self._process is not None, "the server is not started"
        if self._process.poll() is not None:
            return set()
        # Stopped first: it may be about to start a worker that nobody would know of.
        self._process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while _state(self.pid) not in _STANDING and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS / 10)
        workers = self.worker_pids() - {self.pid}
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        return workers

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would."""
        workers = self.kill_supervisor()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        wait_for_end(workers)


def wait_for_end(pids: set[int]) -> None:
    """Return when none of these processes runs; raises `TimeoutError`."""
    deadline = time.monotonic() + STOP_SECONDS
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"of the processes {pids} some do not end")
        time.sleep(_PAUSE_SECONDS)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _state(pid) not in {b"", b"Z"}


def _state(pid: int) -> bytes:
    """The state of a process, one letter; nothing when it has gone."""
    stat = _read(Path(f"/proc/{pid}/stat"))
    return stat.rpartition(b")")[2].split()[0] if stat else b""


def _read(path: Path) -> bytes:
    """The content of a file of a process, or nothing when that has gone."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
