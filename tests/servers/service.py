"""Base class for real servers, each on a free port with its own data folder."""

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


class NotInstalledError(Exception):
    """The server is not installed; the message has the command that installs it."""


class _User(TypedDict, total=False):
    """Arguments of `subprocess` that run a program as another user."""

    user: int
    group: int
    extra_groups: list[int]


class Service(ABC):
    """A server as a context: ready on entry; stopped and removed on exit.

    In between, it can be stopped, killed and started again with the same port and data. It never
    outlives the test process (see `tests.servers.guard`).
    """

    install: ClassVar[str]
    """The command that installs the server."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    unprivileged: ClassVar[bool] = False
    """Whether the server refuses to run as root."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"eventapi-{type(self).__name__.lower()}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address of the server."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that serves in the foreground; raises `NotInstalledError`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers now."""

    def prepare(self) -> None:
        """Create the data before the first start; raises `NotInstalledError`."""
        return

    def executable(self, name: str) -> str:
        """The path of a program on PATH; raises `NotInstalledError`."""
        found = shutil.which(name)
        if found is None:
            raise NotInstalledError(f"{name} is not installed: {self.install}")
        return found

    def run(self, command: Sequence[str | Path], text: str = "") -> str:
        """Run a program as the server's user and return its standard output."""
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
            self.discard()
        finally:
            self._clear()

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that the server has printed so far."""
        return (self.folder / "output").read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the started process runs."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the server without waiting for it."""
        assert not self.is_running, "the server is already running"
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
        """Start and wait for an answer; raises `RuntimeError` and `TimeoutError`."""
        self.launch()
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running:
                raise RuntimeError(f"{type(self).__name__} has exited:\n{self.output}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {seconds} s:\n{self.output}")
            time.sleep(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Stop the server if it runs; on a timeout, kill it and raise `TimeoutError`."""
        self._end(self.stop_signal)

    def discard(self) -> None:
        """Stop a server whose data will be removed, so that it need not save them."""
        self.stop()

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Kill every process of the server at once."""
        if self._process is None or not self.is_running:
            return
        # SIGSTOP first, because it could fork while its descendants are listed.
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
            raise TimeoutError(
                f"the server did not exit within {STOP_SECONDS} s:\n{self.output}"
            ) from None

    def _clear(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        guard.unwatch(self.folder)

    def _user(self) -> _User:
        """Arguments that run an unprivileged server as nobody if this process is root."""
        if not self.unprivileged or os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def descendants(pid: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found |= {child, *descendants(child)}
    return found
