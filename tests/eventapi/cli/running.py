"""Run the program in this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from click.testing import CliRunner, Result

from eventapi.bootstrap.storage import open_journal
from eventapi.cli.main import program
from eventapi.commands.command import Command
from eventapi.configuration.settings import Settings
from eventapi.journal.batch import CommandResult
from events.vault.sqlite import SqliteVault

PROGRAM = [sys.executable, "-m", "eventapi"]
PATIENCE = 120.0
REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = 65_534
"""The id of the user and group "nobody"."""


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without EVENTAPI_ variables, except the given ones."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EVENTAPI_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **settings}


# In this process


def invoke(
    data: Path, *arguments: str, typed: str | bytes | None = None, **settings: str
) -> Result:
    """Run a command in this process."""
    environment: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("EVENTAPI_")
    }
    environment |= {"EVENTAPI_DATA": str(data), **settings}
    # `snapshot` lowers the priority of its process, which is that of the tests.
    with patch("os.nice"):
        return CliRunner(env=environment).invoke(program, arguments, input=typed)


def output_of(data: Path, *arguments: str, typed: str | None = None) -> str:
    """Run a command that must succeed; return its standard output."""
    result = invoke(data, *arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def answer_of(data: Path, *arguments: str) -> dict[str, Any]:
    """Run a command that must succeed with ``--json``; return the decoded object."""
    answer: dict[str, Any] = json.loads(output_of(data, *arguments, "--json"))
    return answer


def refusal_of(data: Path, *arguments: str) -> tuple[int, str]:
    """Run a command that prints nothing on stdout; return exit code and stderr."""
    result = invoke(data, *arguments)
    assert not result.stdout, result.stdout
    return result.exit_code, result.stderr


def message_in(err: str) -> str:
    """The problem in the one message on stderr, which must have all three parts.

    A server that could not start prints problem and severity in one line, and a misuse prints all
    three parts in one line.
    """
    lines = err.splitlines()
    if len(lines) == 1:
        found = re.match(r"(.*?)(?:\.|(?<=\?)) Nothing was .* Next: ", err)
        assert found, err
        return found[1].removeprefix("eventapi: ")
    assert len(lines) in {2, 3}, err
    assert lines[-1].startswith("Next: "), err
    assert lines[0].startswith("eventapi: "), err
    return lines[0].removeprefix("eventapi: ")


# As a process


class Ended(msgspec.Struct, frozen=True):
    """The exit code and the output of a process."""

    code: int
    out: bytes
    err: str


def run(folder: Path, *arguments: str, command: Sequence[str] = PROGRAM, **settings: str) -> Ended:
    """Run a command as a process, in a folder."""
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=clean_environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


class Running:
    """A process that runs until it is stopped."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def line(self) -> bytes:
        """The next line that it prints; raises `EOFError` after its end."""
        out = self._process.stdout
        assert out is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                raise TimeoutError("the process prints nothing")
        line: bytes = out.readline()
        if not line:
            _, err = self._process.communicate(timeout=PATIENCE)
            raise EOFError(f"the process ended: {err.decode()}")
        return line

    def send(self, how: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Ended:
        """Send it a signal, and wait until it has ended."""
        self.send(how)
        out, err = self._process.communicate(timeout=PATIENCE)
        return Ended(self._process.returncode, out, err.decode())


@contextmanager
def running(
    folder: Path, *arguments: str, command: Sequence[str] = PROGRAM, **settings: str
) -> Iterator[Running]:
    """Start a command as a process; kill it at the end if the test did not stop it."""
    environment: Mapping[str, str] = clean_environment(**settings)
    with subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.kill()


def address_of(server: Running) -> str:
    """The address of a server, from the line that it prints when it serves."""
    match = re.fullmatch(rb"eventapi serves (\S+), its data is in \S+\n", server.line())
    assert match is not None
    return match[1].decode()


def as_nobody(work: Callable[[], object]) -> Any:
    """Run work as user nobody, in a fork; return its result decoded from JSON.

    A process of its own would need the right to read this Python.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result = json.dumps(work())
        except BaseException as error:
            result = json.dumps(repr(error))
        os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = json.loads(pipe.read())
    os.waitpid(child, 0)
    return found


# Files of a data directory


def written(data: Path, *commands: Command) -> list[CommandResult]:
    """Execute commands one by one, as a server would."""

    async def write() -> list[CommandResult]:
        async with open_journal(Settings(data=str(data)), begin=True) as (journal, _):
            return [await journal.execute(command) for command in commands]

    return asyncio.run(write())


def written_together(data: Path, commands: Sequence[Command]) -> None:
    """Execute commands as one group."""

    async def write() -> None:
        async with open_journal(Settings(data=str(data)), begin=True) as (journal, _):
            await journal.execute_all(commands)

    asyncio.run(write())


def log_of(data: Path) -> bytes:
    """The content of the log."""
    return (data / "events.jsonl").read_bytes()


def keys_of(path: Path) -> dict[str, bytes]:
    """The keys in a vault file."""

    async def read() -> dict[str, bytes]:
        vault = SqliteVault(path)
        try:
            return await vault.all()
        finally:
            await vault.close()

    return asyncio.run(read())
