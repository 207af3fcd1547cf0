"""A server stops at any moment at a signal, without a traceback."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server import is_running
from tests.eventapi.cli.running import PATIENCE, REPOSITORY, clean_environment
from tests.eventapi.tasks.test_isolation import served
from tests.servers.service import descendants

SLOW_FOLD = """\
import sys, time
from pathlib import Path
from eventapi.cli.main import main
from eventapi.journal.journal import Journal

async def start(self, *_, **__):
    Path("folding").touch()
    time.sleep(600)

Journal.start = start

if __name__ == "__main__":
    main()
"""
"""The program with a replay that blocks the event loop. Workers import this file as well."""

SERVES = "from eventapi.cli.main import main\nif __name__ == '__main__':\n    main()\n"


def script(folder: Path, text: str) -> list[str]:
    file = folder / "program.py"
    file.write_text(text)
    return [sys.executable, str(file)]


@contextmanager
def started(
    folder: Path,
    command: Sequence[str],
    *,
    errors: int | None = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own; it and its children are killed at the end."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment(**environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
        bufsize=0,
    ) as process:
        try:
            yield process
        finally:
            for pid in (*descendants(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def serving(workers: int) -> list[str]:
    return ["serve", "--port", "0", "--workers", str(workers)]


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_server_stops_while_it_replays_the_log(
    tmp_path: Path, workers: int, how: signal.Signals, code: int
) -> None:
    with started(tmp_path, [*script(tmp_path, SLOW_FOLD), *serving(workers)]) as server:
        until((tmp_path / "folding").exists)
        processes = descendants(server.pid)
        server.send_signal(how)
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode == code
    assert b"Traceback" not in errors
    until(lambda: not any(map(is_running, processes)))


@contextmanager
def first_process(
    folder: Path, command: Sequence[str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A command as process 1 of a PID namespace: its outer id, and its parent."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    contained = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command]
    with started(folder, contained) as outside:
        until(lambda: descendants(outside.pid) or outside.poll() is not None)
        if outside.poll() is not None:
            pytest.skip("needs the right to make a PID namespace")
        yield int(_children(outside.pid)[0]), outside


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_process_1_stops_while_it_replays_the_log(
    tmp_path: Path, workers: int, how: signal.Signals, code: int
) -> None:
    command = [*script(tmp_path, SLOW_FOLD), *serving(workers)]
    with first_process(tmp_path, command) as (pid, outside):
        until((tmp_path / "folding").exists)
        os.kill(pid, how)
        assert outside.wait(PATIENCE) == code


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_process_1_stops_while_it_serves(tmp_path: Path, workers: int) -> None:
    with first_process(tmp_path, [*script(tmp_path, SERVES), *serving(workers)]) as (pid, outside):
        served(outside)
        os.kill(pid, signal.SIGTERM)
        assert outside.wait(PATIENCE) == 0


@pytest.mark.long
def test_process_1_stops_while_it_imports_the_server(tmp_path: Path) -> None:
    slow = SERVES.replace("if", "import uvicorn, time, pathlib, eventapi.telemetry.optional\nif", 1)
    slow = slow.replace(
        "    main()",
        "    class Slow:\n"
        "        def find_spec(self, name, *_):\n"
        "            if name == 'eventapi.cli.serve':\n"
        "                pathlib.Path('importing').touch(); time.sleep(600)\n"
        "    import sys; sys.meta_path.insert(0, Slow())\n"
        "    main()",
    )
    with first_process(tmp_path, [*script(tmp_path, slow), *serving(1)]) as (pid, outside):
        until((tmp_path / "importing").exists)
        os.kill(pid, signal.SIGTERM)
        assert outside.wait(PATIENCE) == 128 + signal.SIGTERM


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("moment", ["importing", "folding", "serving"])
def test_ctrl_c_twice_is_quiet(tmp_path: Path, workers: int, moment: str) -> None:
    """Ctrl-C reaches every process of the terminal."""
    command = script(tmp_path, SLOW_FOLD if moment == "folding" else SERVES)
    with started(tmp_path, [*command, *serving(workers)]) as server:
        if moment == "importing":
            # The workers run, but have imported next to nothing.
            until(lambda: len(descendants(server.pid)) > workers or _maps(server.pid, b"uvloop"))
        elif moment == "folding":
            until((tmp_path / "folding").exists)
        else:
            served(server)
        for _ in range(2):
            os.killpg(server.pid, signal.SIGINT)
            time.sleep(0.02)
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode in {130, -signal.SIGINT}  # A shell reports both as 130.
    assert b"Traceback" not in errors, errors.decode()
    assert b"KeyboardInterrupt" not in errors


SIGNALLED_LATE = """\
import os, signal
from eventapi.cli.main import main

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)

if __name__ == '__main__':
    last = Last()
    main()
"""
"""The program, which gets SIGTERM after the interpreter has reset its signal handlers."""


@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--workers", "2"], ["--reload"]], ids=" ".join)
def test_a_repeated_sigterm_does_not_change_the_exit_code(tmp_path: Path, more: list[str]) -> None:
    command = [*script(tmp_path, SIGNALLED_LATE), "serve", "--port", "0", *more]
    with started(tmp_path, command) as server:
        served(server)
        server.terminate()
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0, errors.decode()


INTERRUPTING = """\
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == os.environ["INTERRUPTED_AT"]:
            sys.meta_path.remove(self)
            for _ in range(2):
                os.killpg(0, signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""
"""A ``sitecustomize`` that sends SIGINT twice to all processes in the middle of an import."""


@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--workers", "2"], ["--reload"]], ids=" ".join)
@pytest.mark.parametrize(
    "module",
    [
        *("logging", "click", "dotenv", "msgspec", "eventapi.cli.options", "eventapi.cli.serve"),
        *("uvicorn", "uvicorn.supervisors", "eventapi.app", "litestar", "events.log.file.log"),
        "uvloop",
    ],
)
def test_ctrl_c_twice_in_the_middle_of_an_import_is_quiet(
    tmp_path: Path, module: str, more: list[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    settings = {"INTERRUPTED_AT": module, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = [sys.executable, "-m", "eventapi", "serve", "--port", "0", *more]
    with started(tmp_path, command, environment=settings) as server:
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode in {130, -signal.SIGINT}
    assert b"Traceback" not in errors, errors.decode()
    assert b"KeyboardInterrupt" not in errors


@pytest.mark.long
@pytest.mark.parametrize("pause", [0, 0.02, 0.3])
def test_ctrl_c_twice_under_the_reloader_is_quiet(tmp_path: Path, pause: float) -> None:
    command = [*script(tmp_path, SERVES), "serve", "--port", "0", "--reload"]
    with started(tmp_path, command) as server:
        address = served(server)
        httpx.get(f"{address}/health/live", timeout=PATIENCE)
        for _ in range(2):
            os.killpg(server.pid, signal.SIGINT)
            time.sleep(pause)
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode in {130, -signal.SIGINT}
    assert b"Traceback" not in errors, errors.decode()


INTERRUPTED_DECISION = """\
import os, signal
from eventapi.journal.batch import Batch
from eventapi.cli.main import main

def decide(self, wish):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)

Batch._decide = decide

if __name__ == "__main__":
    main()
"""
"""The program with a decision that Ctrl-C interrupts twice."""


def test_ctrl_c_twice_is_quiet_while_a_command_writes(tmp_path: Path) -> None:
    (tmp_path / "ann").write_text("correct horse battery")
    command = [*script(tmp_path, INTERRUPTED_DECISION), "users", "create", "ann", "ann@example.com"]
    with (tmp_path / "ann").open("rb") as password:
        ended = subprocess.run(
            [*command, "--password-stdin"],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=password,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.returncode in {130, -signal.SIGINT}
    assert b"Traceback" not in ended.stderr, ended.stderr.decode()


def _maps(pid: int, name: bytes) -> bool:
    with suppress(OSError):
        return name in Path(f"/proc/{pid}/maps").read_bytes()
    return False


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_stops_when_its_terminal_is_closed(tmp_path: Path, workers: int) -> None:
    """SIGHUP would restart it, and it would keep running unseen."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The tests may run under nohup.
        os.chdir(tmp_path)
        command = [*script(tmp_path, SERVES), *serving(workers)]
        os.execve(command[0], command, clean_environment())  # noqa: S606
    output = b""
    while b"eventapi serves" not in output:
        output += os.read(terminal, 1000)
    processes = descendants(pid)
    os.close(terminal)
    until(lambda: os.waitpid(pid, os.WNOHANG) != (0, 0))
    until(lambda: not any(map(is_running, processes)))


LOST_OUTPUT = """\
import eventapi.cli.serve
from eventapi.cli.main import main

def announce(*_):
    raise OSError(5, "Input/output error")

eventapi.cli.serve._announce = announce

if __name__ == "__main__":
    main()
"""
"""The program with a terminal that is closed before the address is printed."""


@pytest.mark.long
def test_a_server_ends_with_its_workers_if_it_cannot_print_its_address(tmp_path: Path) -> None:
    with started(tmp_path, [*script(tmp_path, LOST_OUTPUT), *serving(2)]) as server:
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode == 3
    assert b"Input/output error" in errors
    assert b"Traceback" not in errors


def test_the_parent_does_not_import_the_application() -> None:
    """Its modules would take memory beside the workers."""
    check = (
        "import sys, eventapi.cli.main, eventapi.cli.serve\n"
        "print(*{'litestar', 'projections', 'events.log.file.log', 'cryptography', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], env=clean_environment(), capture_output=True, check=True
    )
    assert done.stdout.split() == []


def test_the_parent_never_opens_the_log(tmp_path: Path) -> None:
    with started(tmp_path, [*script(tmp_path, SLOW_FOLD), *serving(2)]) as server:
        until((tmp_path / "folding").exists)
        files = [fd.resolve() for fd in Path(f"/proc/{server.pid}/fd").iterdir()]
    assert not [file for file in files if "events.jsonl" in file.name]
