"""The systemd units are valid, and a server works within their sandbox."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from eventapi.bootstrap.process import DAMAGED
from eventapi.cli.failures import Misuse
from eventapi.cli.serve import OPEN_FILES
from eventapi.configuration.setting import PREFIX
from tests.deployment.balancer import DEPLOY
from tests.end_to_end.accounts import TIMEOUT_SECONDS
from tests.end_to_end.server import ROOT, START_SECONDS, STOP_SECONDS, Server, by_serve, free_port
from tests.end_to_end.strace import needs_strace

UNITS = DEPLOY / "systemd"
UNIT = "eventapi@.service"
SERVICES = ["eventapi@8001.service", "eventapi-drain.service"]

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is absent: apt-get install systemd (make servers)",
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies of the units with programs of this checkout, which must exist."""
    for file in UNITS.iterdir():
        text = file.read_text().replace("/opt/eventapi/.venv/bin/eventapi", sys.executable)
        text = text.replace("/opt/eventapi", str(ROOT))
        (tmp_path / file.name.replace("@", "@8001")).write_text(text)
    return tmp_path


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze in the folder of the units."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, cwd=units, capture_output=True, text=True, check=False)


def test_units_are_valid(units: Path) -> None:
    found = analyze(units, "verify", *(f"./{name}" for name in (*SERVICES, "eventapi.target")))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_unit_is_not_restarted_after_misuse_or_damage_of_the_log() -> None:
    """It would fold the log up to the damage again and again."""
    found = re.search(r"^RestartPreventExitStatus=(.*)$", (UNITS / UNIT).read_text(), re.MULTILINE)
    assert found is not None
    assert set(found[1].split()) == {str(Misuse.exit_code), str(DAMAGED)}


@pytest.mark.parametrize("log", ["database", "file"])
def test_unit_uses_only_directories_that_it_creates(units: Path, log: str) -> None:
    """As written, and with the lines that its comment gives for a log in a file."""
    unit = units / SERVICES[0]
    text = unit.read_text()
    if log == "file":
        for name, value in re.findall(r"^#   (\w+)=(.*)$", text, re.MULTILINE):
            text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, name
        unit.write_text(text)
    (made,) = re.findall("^StateDirectory=(.*)$", text, re.MULTILINE)
    assert re.findall("^WorkingDirectory=(.*)$", text, re.MULTILINE) == [f"/var/lib/{made}"]
    assert re.findall("^Environment=EVENTAPI_DATA=(.*)$", text, re.MULTILINE) == [
        f"/var/lib/{made}"
    ]
    assert made == ("eventapi" if log == "file" else "eventapi/%i")
    assert analyze(units, "verify", f"./{SERVICES[0]}").stderr == ""


def test_control_invalid_unit_is_found(units: Path) -> None:
    unit = units / SERVICES[0]
    unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=sometimes"))
    assert "sometimes" in analyze(units, "verify", f"./{SERVICES[0]}").stderr


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_few_privileges(units: Path, name: str) -> None:
    found = analyze(units, "security", "--offline=yes", "--threshold=25", f"./{name}")
    assert found.returncode == 0, found.stdout


def allowed_calls() -> set[str]:
    """The system calls that the unit allows."""
    calls: set[str] = set()
    text = (UNITS / "eventapi@.service").read_text()
    for line in re.findall("^SystemCallFilter=(.*)$", text, re.MULTILINE):
        named = {call for name in line.removeprefix("~").split() for call in calls_of_set(name)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls | calls_of_set("@default")


def calls_of_set(name: str) -> set[str]:
    """The system calls of a set, including nested sets."""
    if not name.startswith("@"):
        return {name}
    command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
    words = [line.strip() for line in subprocess.check_output(command, text=True).splitlines()[1:]]
    return {call for word in words if word and word[0] != "#" for call in calls_of_set(word)}


@needs_strace
def test_server_makes_no_forbidden_system_call(tmp_path: Path) -> None:
    """From start to exit: settings, workers, a log, a vault, a user, a page."""
    trace, port = tmp_path / "trace", free_port()
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(PREFIX)
    } | {"EVENTAPI_DATA": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    serve = [sys.executable, *by_serve(port, 2)]
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", str(trace), *serve],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until_ready(client)
            body = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
            assert client.post("/auth/register", json=body).status_code == 200
            del body["email"]
            assert client.post("/auth/login", data=body).status_code == 200
            assert client.get("/docs").status_code == 200
        (parent,) = children(tracer.pid)
        os.kill(parent, signal.SIGTERM)
        assert tracer.wait(STOP_SECONDS) == 0
    finally:
        for pid in children(tracer.pid):
            os.kill(pid, signal.SIGKILL)
        tracer.kill()
        tracer.wait()
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert {"execve", "fdatasync", "accept4"} <= made
    # As root, SQLite calls fchown on its files; the unit does not run as root.
    assert made - allowed_calls() - {"fchown"} == set()


def children(pid: int) -> set[int]:
    """The child processes of a process."""
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):
        return set()


def wait_until_ready(client: httpx.Client) -> None:
    """Wait until the server answers; raises `TimeoutError`."""
    deadline = time.monotonic() + 3 * START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise TimeoutError("the server does not start")


DENY_WRITE_EXECUTE = """
import ctypes, mmap, runpy, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("PR_SET_MDWE is not supported")
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("writable and executable memory is not denied")
sys.argv = {arguments!r}
runpy.run_module("eventapi", run_name="__main__", alter_sys=True)
"""


def test_server_needs_no_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    """As with MemoryDenyWriteExecute; here the kernel denies it (Linux 6.3)."""

    def by_serve_denied(port: int, workers: int) -> list[str]:
        return [
            "-c",
            DENY_WRITE_EXECUTE.format(arguments=["eventapi", *by_serve(port, workers)[2:]]),
        ]

    with (
        Server(tmp_path / "data", 1, by_serve_denied) as server,
        httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS) as client,
    ):
        body = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
        assert client.post("/auth/register", json=body).status_code == 200
        del body["email"]
        assert client.post("/auth/login", data=body).status_code == 200


def test_limit_of_open_files_equals_the_server_s_own() -> None:
    (limit,) = re.findall("LimitNOFILE=(.*)", (UNITS / "eventapi@.service").read_text())
    assert int(limit) == OPEN_FILES
