"""A pytest fixture that starts a real server with your resources.

Activate it in ``conftest.py``::

    pytest_plugins = ["eventapi.testing.plugin"]

Then a test starts a server, and talks to it as a user::

    def test_an_invoice_is_paid(eventapi_server):
        ann = eventapi_server(Invoice).user("ann")
        ...

The fixture needs ``pytest`` and ``httpx``: ``pip install 'eventapi-server[testing]'``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import httpx
import pytest

from eventapi.resources.declaration import Resource

PASSWORD: Final = "a password for tests"  # noqa: S105 - users of a test have no secret
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_ANNOUNCED: Final = "eventapi serves "
_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class Server:
    """A server in a process of its own; as a context: ready on entry, stopped on exit.

    ``resources`` are the modules that declare resources, ``settings`` those of the server without
    their prefix, such as ``{"WORKERS": "2"}``. ``directory`` is where the modules are found; the
    data is in ``data``, and what the server prints in ``output``.
    """

    def __init__(
        self,
        directory: Path,
        data: Path,
        resources: str = "",
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        self.data = data
        self.url = ""
        self._directory = directory
        self._resources = resources
        self._settings = settings
        self._output = data.with_name(f"{data.name}.out")
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx.Client] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """Everything that the server has printed."""
        return self._output.read_text(errors="replace")

    def start(self) -> None:
        """Start the server, or start it again on the same data; returns when ready.

        Raises `RuntimeError` with the output of a server that has exited, and `TimeoutError`.
        """
        inherited = {name: text for name, text in os.environ.items() if name[:9] != "EVENTAPI_"}
        defaults = {"RATE_LIMIT": "off", "RATE_LIMIT_LOGIN": "off", "RESOURCES": self._resources}
        settings = {name: text for name, text in (defaults | {**self._settings}).items() if text}
        started = self._output.stat().st_size if self._output.exists() else 0
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is fixed
                [
                    *(sys.executable, "-m", "eventapi", "serve", "--host", "127.0.0.1"),
                    *("--port", "0", "--data", str(self.data)),
                ],
                cwd=self._directory,
                env=inherited | {f"EVENTAPI_{name}": text for name, text in settings.items()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(started)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, started: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            printed = self.output[started:]
            if _ANNOUNCED in printed:
                self.url = printed.partition(_ANNOUNCED)[2].partition(",")[0]
                if _is_ready(self.url):
                    return
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the server has exited:\n{printed}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server is not ready:\n{printed}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Stop the server, and return its exit code; `start` starts it again."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise TimeoutError(f"the server does not stop:\n{self.output}") from None
        finally:
            self._process = None

    def client(self, token: str = "") -> httpx.Client:
        """A client of version 2 of the API, closed when the server stops.

        Paths are relative to the version: ``client().get("items/1")``.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=f"{self.url}/api/v2", headers=headers, timeout=30)
        self._clients.append(client)
        return client

    def register(self, username: str) -> None:
        """Register a user, whose password is `PASSWORD`."""
        body = {"username": username, "email": f"{username}@example.org", "password": PASSWORD}
        self.client().post("auth/register", json=body).raise_for_status()

    def login(self, username: str) -> httpx.Client:
        """A client that is logged in as a registered user."""
        body = {"username": username, "password": PASSWORD}
        response = self.client().post("auth/login", json=body).raise_for_status()
        return self.client(response.json()["access_token"])

    def user(self, username: str) -> httpx.Client:
        """Register a user, and return a client that is logged in."""
        self.register(username)
        return self.login(username)

    def command(self, *arguments: str) -> str:
        """What a command of ``eventapi`` prints about this server's data.

        Raises `subprocess.CalledProcessError`.
        """
        inherited = {name: text for name, text in os.environ.items() if name[:9] != "EVENTAPI_"}
        settings = {"EVENTAPI_DATA": str(self.data)}
        if self._resources:
            settings["EVENTAPI_RESOURCES"] = self._resources
        ran = subprocess.run(  # noqa: S603 - the command is fixed
            [sys.executable, "-m", "eventapi", *arguments],
            cwd=self._directory,
            env=inherited | settings,
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


StartServer = Callable[..., Server]
"""Takes resources, as classes or as names of modules, and settings by their names."""


@pytest.fixture
def eventapi_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Start servers on free ports; they stop at the end of the test.

    ``eventapi_server(Invoice)`` or ``eventapi_server("shop")`` starts one with an empty log. Settings
    are keyword arguments: ``eventapi_server(Invoice, WORKERS="2")``.
    """
    servers: list[Server] = []

    def start(*resources: type[Resource] | str, **settings: str) -> Server:
        names = [one if isinstance(one, str) else one.__module__ for one in resources]
        modules = ",".join(dict.fromkeys(names))
        data = tmp_path / f"data-{len(servers) + 1}"
        server = Server(_directory_of(modules, request), data, modules, settings)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def _directory_of(modules: str, request: pytest.FixtureRequest) -> Path:
    """The directory of a module that the test imported, else the working one."""
    name = modules.partition(",")[0]
    module = sys.modules.get(name)
    place = getattr(module, "__file__", None)
    if place is None:
        return request.config.invocation_params.dir
    return Path(place).resolve().parents[name.count(".")]
