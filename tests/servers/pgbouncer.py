"""Start a real PgBouncer in front of PostgreSQL, from Debian's package."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.servers.postgresql import PASSWORD, USER
from tests.servers.service import Service

Mode = Literal["session", "transaction", "statement"]

IGNORED = (
    "idle_in_transaction_session_timeout,lock_timeout,tcp_keepalives_idle,statement_timeout,"
    "search_path,extra_float_digits"
)
"""Start-up parameters to ignore, as operators configure it when clients are refused."""


class PgBouncer(Service):
    """A connection pooler that accepts any client and logs in to the database itself."""

    install = "apt-get install pgbouncer (make servers)"
    unprivileged = True

    def __init__(self, database: str, mode: Mode, ignored: str = IGNORED) -> None:
        """``database`` is the URL of a database, which the pooler serves as ``log``."""
        super().__init__()
        self._mode = mode
        self._ignored = ignored
        self._database = database

    @property
    def url(self) -> str:
        """The URL of the database through the pooler."""
        return f"postgresql://{USER}:unused@127.0.0.1:{self.port}/log"

    def prepare(self) -> None:
        """Write the configuration."""
        place, _, name = self._database.rpartition("/")
        port = place.rpartition(":")[2]
        there = f"host=127.0.0.1 port={port} dbname={name} user={USER} password='{PASSWORD}'"
        lines = [
            "[databases]",
            f"log = {there}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = any",
            f"pool_mode = {self._mode}",
            f"ignore_startup_parameters = {self._ignored}",
        ]
        self._configuration.write_text("\n".join(lines) + "\n")
        self._configuration.chmod(0o644)

    def command(self) -> Sequence[str | Path]:
        """The pooler in the foreground."""
        return [self.executable("pgbouncer"), self._configuration]

    def is_ready(self) -> bool:
        """Whether the pooler accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def _configuration(self) -> Path:
        return self.folder / "pgbouncer.ini"
