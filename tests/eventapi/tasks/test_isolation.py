"""No module of the working directory is imported, and no command line has a secret."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.tasks import snapshots as snapshotting
from eventapi.testing.given import profile
from tests.eventapi.cli.running import PATIENCE, Running, clean_environment, written
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

OURS = ("eventapi", "events", "projections", "tests")
OTHERS = ("msgspec", "uvicorn", "litestar", "click", "limits", "redis", "dotenv", "uvloop")
NAMES = sorted({*sys.stdlib_module_names, *OURS, *OTHERS} - {"__main__"})
HOSTILE = """\
import os
with open({marker!r}, "a") as marker:
    marker.write({name!r} + "\\n")
os._exit(9)
"""
SCRIPT = """\
import sys
from eventapi.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Where a hostile module leaves its name."""
    return tmp_path / "ran"


@pytest.fixture
def hostile(tmp_path: Path, marker: Path) -> Path:
    """A directory with a module or package of each name that may be imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        place = folder / f"{name}.py"
        if name in OURS:
            (folder / name).mkdir()
            place = folder / name / "__init__.py"
        place.write_text(HOSTILE.format(marker=str(marker), name=name))
    return folder


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """How the installed command is started: by a script that lies elsewhere."""
    script = tmp_path / "bin" / "eventapi"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    return [sys.executable, str(script)]


@pytest.fixture
def starting(hostile: Path, program: list[str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the program in the hostile directory."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=hostile,
            env=clean_environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def served(process: subprocess.Popen[bytes]) -> str:
    return Running(process).line().split()[2].decode().rstrip(",")


def command_lines(pid: int) -> list[bytes]:
    """Those of a process and of all below it."""
    found = []
    for one in (pid, *descendants(pid)):
        try:
            found.append(Path(f"/proc/{one}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_control_module_of_the_working_directory_is_imported(hostile: Path, marker: Path) -> None:
    """As ``multiprocessing`` starts its processes; without a defence the directory comes first."""
    command = [sys.executable, "-c", "from multiprocessing.spawn import spawn_main"]
    done = subprocess.run(command, cwd=hostile, env=clean_environment(), check=False)
    assert done.returncode == 9
    assert marker.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_server_imports_nothing_of_the_working_directory(
    starting: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, marker: Path, workers: str
) -> None:
    data = str(tmp_path / "data")
    process = starting("serve", "--port", "0", "--workers", workers, "--data", data)
    assert httpx.get(f"{served(process)}/health/ready").status_code == 200
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not marker.exists()


def test_snapshot_process_imports_nothing_of_the_working_directory(
    hostile: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    written(data, RegisterUser(profile("ann")))
    monkeypatch.setattr(os, "environ", clean_environment())
    monkeypatch.chdir(hostile)
    assert snapshotting.start_snapshot(Settings(data=str(data))).wait(PATIENCE) == 0
    assert list((data / "snapshots").glob("1.*"))
    assert not marker.exists()


def test_control_snapshot_process_imports_a_module_of_the_working_directory(
    hostile: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", clean_environment())
    monkeypatch.setattr(
        snapshotting, "program", lambda name: [sys.executable, "-m", "eventapi", name]
    )
    monkeypatch.chdir(hostile)
    assert snapshotting.start_snapshot(Settings(data=str(tmp_path / "data"))).wait(PATIENCE) == 9
    assert marker.read_text()


def test_verify_processes_import_nothing_of_the_working_directory(
    starting: Callable[..., subprocess.Popen[bytes]],
    program: list[str],
    tmp_path: Path,
    marker: Path,
) -> None:
    data = tmp_path / "data"
    written(data, *(RegisterUser(profile(f"user{number}")) for number in range(8)))
    Path(program[1]).write_text(
        "import os\nfrom events.verification import scan\n"
        "scan.SEGMENT_BYTES, os.sched_getaffinity = 1000, lambda _: {0, 1, 2}\n" + SCRIPT
    )
    process = starting("log", "verify", "--data", str(data))
    assert process.wait(PATIENCE) == 0
    assert not marker.exists()


def test_control_verify_processes_import_a_module_of_the_working_directory(
    starting: Callable[..., subprocess.Popen[bytes]],
    program: list[str],
    tmp_path: Path,
    marker: Path,
) -> None:
    data = tmp_path / "data"
    written(data, *(RegisterUser(profile(f"user{number}")) for number in range(8)))
    Path(program[1]).write_text(
        "import os\nfrom events.verification import scan\nfrom eventapi.cli import main\n"
        "main.isolate_children = lambda: None\n"
        "scan.SEGMENT_BYTES, os.sched_getaffinity = 1000, lambda _: {0, 1, 2}\n"
        "if __name__ == '__main__':\n    main.main()\n"
    )
    starting("log", "verify", "--data", str(data)).wait(PATIENCE)
    assert marker.read_text()


@pytest.mark.long
def test_no_command_line_has_a_secret(
    starting: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, postgresql: PostgreSQL
) -> None:
    """Given in the environment, they are on that of no process of the server."""
    url, key = postgresql.new_database(), secrets.token_hex(32)
    process = starting(
        *("serve", "--port", "0", "--workers", "2", "--data", str(tmp_path / "data")),
        EVENTAPI_LOG=url,
        EVENTAPI_SECRET_KEY=key,
        EVENTAPI_REDIS_URL="redis://:red1s-secret@127.0.0.1:1/0",
        EVENTAPI_SNAPSHOT_EVERY="1",
    )
    body = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
    address = served(process)
    assert httpx.post(f"{address}/auth/register", json=body).status_code == 200
    seen: set[bytes] = set()
    deadline = time.monotonic() + PATIENCE
    while not any(b"snapshot" in line for line in seen):
        assert time.monotonic() < deadline, "no snapshot was taken"
        seen.update(command_lines(process.pid))
        time.sleep(0.02)
    assert len(seen) >= 3
    for secret in (b"password", b"a%20password", key.encode(), b"red1s-secret"):
        assert not [line for line in seen if secret in line]
