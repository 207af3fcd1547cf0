"""Server processes: start them on given cores, wait until they answer, and end them."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_TIMEOUT = 120.0  # seconds; a large log is folded first
STOP_TIMEOUT = 15.0  # seconds


class ServerError(Exception):
    """A failure while a server ran, with the last lines of its output."""


@dataclass(frozen=True)
class Server:
    """A running server: its address and its first process."""

    base_url: str
    pid: int


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    cores: Sequence[int],
    folder: Path,
) -> Iterator[Server]:
    """Run a server on some cores, in `folder` and with its output there.

    The folder is the working directory, so that the server does not read an `.env` of the
    repository. Settings in the environment of the caller are left out for the same reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "server.log"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVENTAPI_", "PEER_"))
    }
    base_url = f"http://{HOST}:{port}"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, cores)), *command],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_answering(process, base_url)
            yield Server(base_url, process.pid)
            if process.poll() is not None:
                raise ServerError(f"ended by itself with code {process.returncode}")
        except Exception as error:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-20:])
            raise ServerError(f"{error}\n{' '.join(command)} printed last:\n{tail}") from error
        finally:
            _stop(process)


def _wait_until_answering(process: subprocess.Popen[bytes], base_url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"did not start, exit code {process.returncode}")
        try:
            httpx.get(base_url, timeout=1.0, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise ServerError(f"no answer within {START_TIMEOUT:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
