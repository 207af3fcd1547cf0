"""Running the program: in this process where that is enough, as a process where it matters."""

from __future__ import annotations

import asyncio
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import msgspec
from click.testing import CliRunner, Result

from eventapi.bootstrap.storage import open_journal
from eventapi.cli.main import program
from eventapi.commands.command import Command
from eventapi.configuration.settings import Settings
from eventapi.journal.batch import CommandResult

PROGRAM = [sys.executable, "-m", "eventapi"]
PATIENCE = 120.0
REPOSITORY = Path(__file__).resolve().parents[3]


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without settings of ours but for those given."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EVENTAPI_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **settings}


def invoke(
    data: Path, *arguments: str, typed: str | bytes | None = None, **settings: str
) -> Result:
    """Run a command in this process."""
    environment: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("EVENTAPI_")
    }
    environment |= {"EVENTAPI_DATA": str(data), **settings}
    with patch(
        "os.nice"
    ):  # `snapshot` lowers the priority of its process, which is that of the tests.
        return CliRunner(env=environment).invoke(program, arguments, input=typed)


class Ended(msgspec.Struct, frozen=True):
    """What came of a process."""

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


def message_in(err: str) -> str:
    """What is wrong, in the one message on stderr, which has all three parts.

    A server that could not start has the first two in one line, and a misuse has all three there.
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


class Running:
    """A process that goes on."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def line(self) -> bytes:
        """The next line that it prints; raises `EOFError` when it has ended."""
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

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Ended:
        """Ask it to end, and wait until it has."""
        self._process.send_signal(how)
        out, err = self._process.communicate(timeout=PATIENCE)
        return Ended(self._process.returncode, out, err.decode())


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    """A command as a process that goes on, killed at the end if nobody stopped it."""
    environment: Mapping[str, str] = clean_environment(**settings)
    with subprocess.Popen(
        [*PROGRAM, *arguments],
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


def written(data: Path, *commands: Command) -> list[CommandResult]:
    """Write what commands come to, as a server would."""

    async def write() -> list[CommandResult]:
        async with open_journal(Settings(data=str(data)), begin=True) as (journal, _):
            return [await journal.execute(command) for command in commands]

    return asyncio.run(write())


def written_together(data: Path, commands: Sequence[Command]) -> None:
    """Write what commands come to in one go."""

    async def write() -> None:
        async with open_journal(Settings(data=str(data)), begin=True) as (journal, _):
            await journal.execute_all(commands)

    asyncio.run(write())
