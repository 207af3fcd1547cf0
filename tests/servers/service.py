"""A real server of another make: on a free port of the loopback, with its data in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self, TypedDict

from tests.end_to_end.server import START_SECONDS, STOP_SECONDS, free_port, wait_for_end
from tests.servers import guard

_PAUSE_SECONDS = 0.01


class AbsentError(Exception):
    """The server is not installed; says the command that installs it."""


class _User(TypedDict, total=False):
    """What `subprocess` takes to run a program as another."""

    user: int
    group: int
    extra_groups: list[int]


class Service(ABC):
    """A server as a context: up on entry; on exit ended, and its folder removed.

    Between the two it can be stopped, killed and started again, on the same port and data. It does
    not outlive this process, however that ends.
    """

    install: ClassVar[str]
    """The command that installs it."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    unprivileged: ClassVar[bool] = False
    """Whether it refuses to run as root."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"eventapi-{type(self).__name__.lower()}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it answers."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that serves in the foreground; raises `AbsentError`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers now."""

    def prepare(self) -> None:
        """Lay out the data, once, before the first start; raises `AbsentError`."""
        return

    def executable(self, name: str) -> str:
        """The program of that name on the path; raises `AbsentError`."""
        found = shutil.which(name)
        if found is None:
            raise AbsentError(f"{name} is not here: {self.install}")
        return found

    def run(self, command: Sequence[str | Path], text: str = "") -> str:
        """Run a program as the server's user to its end; what it prints on standard output."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            **self._user(),
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} exits with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def __enter__(self) -> Self:
        try:
            if user := self._user():
                os.chown(self.folder, user["user"], user["group"])
            self.prepare()
            self.start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._clear()

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return (self.folder / "output").read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether its first process runs."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        assert not self.is_running, "the server runs already"
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._user(),
            )
        guard.watch(self.pid, self.folder)

    def start(self, seconds: float = START_SECONDS) -> None:
        """Start it and return when it answers; raises `RuntimeError` and `TimeoutError`."""
        self.launch()
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running:
                raise RuntimeError(f"{type(self).__name__} has ended:\n{self.output}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {seconds} s:\n{self.output}")
            time.sleep(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Have it end in good order, if it runs; raises `TimeoutError`, and ends it by force."""
        self._end(self.stop_signal)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        if self._process is None or not self.is_running:
            return
        # Stopped first, or it would start others while they are being counted.
        os.kill(self.pid, signal.SIGSTOP)
        pids = {self.pid, *descendants(self.pid)}
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)
        wait_for_end(pids)

    def _end(self, by: signal.Signals) -> None:
        if self._process is None or not self.is_running:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"no end within {STOP_SECONDS} s:\n{self.output}") from None

    def _clear(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        guard.forget(self.folder)

    def _user(self) -> _User:
        """Whom it runs as, where that is another than this process."""
        if not self.unprivileged or os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found |= {child, *descendants(child)}
    return found
