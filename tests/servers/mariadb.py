"""Start a real MariaDB, from Debian's packages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.servers.service import Service

USER, PASSWORD = "eventapi", "a password"
_TLS = ("ssl-cert", "ssl-key")


class MariaDB(Service):
    """A MariaDB server with default durability and password authentication."""

    install = "apt-get install mariadb-server-core mariadb-client-core (make servers)"
    unprivileged = True

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """With a certificate and its key, the server offers TLS."""
        super().__init__()
        self._certificate = certificate
        self._numbers = count(1)

    @property
    def url(self) -> str:
        """The URL of the default database."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """The URL of a database on this server."""
        return f"mysql://{USER}:a%20password@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO {USER}@'127.0.0.1'")
        return self.url_of(name)

    def sql(self, statement: str) -> str:
        """Run statements as superuser; return a line per row, with tabs between columns."""
        flags = ["--no-defaults", "--batch", "--skip-column-names", "--user=root"]
        client = self.executable("mariadb")
        return self.run([client, *flags, f"--socket={self._socket}"], statement).strip()

    def discard(self) -> None:
        """Kill the server, which would flush the pages of all databases."""
        self.kill()

    def prepare(self) -> None:
        """Create the system tables, and a script that creates user and database."""
        self.create_data()
        (self.folder / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {USER};\n"
            f"CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON {USER}.* TO {USER}@'127.0.0.1';\n"
        )
        (self.folder / "init.sql").chmod(0o644)
        for name, file in zip(_TLS, self._certificate or (), strict=False):
            shutil.copyfile(file, self.folder / name)
            (self.folder / name).chmod(0o644)

    def create_data(self) -> None:
        """Create the data directory with its system tables."""
        access = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        program = self.executable("mariadb-install-db")
        self.run([program, "--no-defaults", *self._settings, *access])

    def command(self) -> Sequence[str | Path]:
        """The server with its default durability settings."""
        return [
            self.executable("mariadbd"),
            "--no-defaults",
            *self._settings,
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            *(f"--{name}={self.folder / name}" for name in _TLS if self._certificate),
        ]

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

    @property
    def _settings(self) -> list[str]:
        # A separate tmpdir, because temporary tables of two servers may have the same name.
        places = [f"--datadir={self.data}", f"--tmpdir={self.folder}"]
        return [*places, "--innodb-log-file-size=16M"]

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"
