"""A production stack on one machine: nginx, instances, a database, Valkey."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from eventapi.configuration.settings import Settings
from tests.deployment.balancer import Balancer
from tests.end_to_end.server import ROOT, Command, Server, by_serve
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving
from tests.servers.valkey import Valkey

Database = PostgreSQL | MariaDB

RATE_LIMITS = {"EVENTAPI_RATE_LIMIT": "1000000000/minute", "EVENTAPI_RATE_LIMIT_LOGIN": "off"}
"""Every request is counted in Valkey, and no limit is reached."""


class Stack:
    """The stack as a context manager; ``folder`` holds the data directories.

    Over a database, each instance has its own data directory, as on separate machines, unless
    ``one_machine``. Without a database, all instances share one directory and its log.
    """

    def __init__(
        self,
        folder: Path,
        database: Database | None,
        settings: Mapping[str, str] = MappingProxyType(RATE_LIMITS),
        *,
        instances: int = 3,
        workers: int = 1,
        command: Command = by_serve,
        one_machine: bool = False,
    ) -> None:
        self.database = database
        self.valkey = Valkey()
        self._secret = settings.get("EVENTAPI_SECRET_KEY", secrets.token_hex(32))
        self._url = None if database is None else database.new_database()
        self._has_one_directory = database is None or one_machine
        own = {
            "EVENTAPI_SECRET_KEY": self._secret,
            "EVENTAPI_REDIS_URL": self.valkey.url,
            "EVENTAPI_TRUSTED_PROXIES": "127.0.0.1",
            **({} if self._url is None else {"EVENTAPI_LOG": self._url}),
        }
        self.instances = [
            Server(folder / self._name(number), workers, command, own | dict(settings))
            for number in range(1, instances + 1)
        ]
        self.balancer = Balancer([instance.port for instance in self.instances])
        self._folder = folder
        self._stack = ExitStack()

    def settings(self) -> Settings:
        """Settings of another process on the same log."""
        data = str(self._folder / self._name(0))
        return Settings(data=data, log=self._url, secret_key=self._secret)

    def run(self, *command: str) -> None:
        """Run an eventapi command on the same log; raises `CalledProcessError`."""
        settings = self.settings()
        Path(settings.data).mkdir(exist_ok=True)
        log = [] if settings.log is None else ["--log", settings.log]
        arguments = [*command, "--data", settings.data, *log]
        program = [sys.executable, "-m", "eventapi", *arguments]
        subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def _name(self, number: int) -> str:
        return "data" if self._has_one_directory else f"data-{number}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(serving(self.valkey))
            for instance in self.instances:
                instance.launch()
                stack.push(instance)
            for instance in self.instances:
                instance.wait_until_ready()
            stack.enter_context(serving(self.balancer))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
