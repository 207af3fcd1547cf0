"""MariaDB, of Debian's packages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.servers.service import Service

USER, PASSWORD = "eventapi", "a password"
_TLS = ("ssl-cert", "ssl-key")


class MariaDB(Service):
    """MariaDB, as durable as it comes, listening with passwords."""

    install = "apt-get install mariadb-server-core mariadb-client-core (make servers)"
    unprivileged = True

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """With a certificate and its key it speaks TLS to whoever wants it."""
        super().__init__()
        self._certificate = certificate
        self._numbers = count(1)

    @property
    def url(self) -> str:
        """A database that is there from the start."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """A database of this server."""
        return f"mysql://{USER}:a%20password@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO {USER}@'127.0.0.1'")
        return self.url_of(name)

    def sql(self, statement: str) -> str:
        """What statements of the superuser yield: a line a row, columns between tabs."""
        flags = ["--no-defaults", "--batch", "--skip-column-names", "--user=root"]
        client = self.executable("mariadb")
        return self.run([client, *flags, f"--socket={self._socket}"], statement).strip()

    def prepare(self) -> None:
        """Make the system's tables, and what creates a user and a database of theirs."""
        access = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        program = self.executable("mariadb-install-db")
        self.run([program, "--no-defaults", *self._settings, *access])
        (self.folder / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {USER};\n"
            f"CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON {USER}.* TO {USER}@'127.0.0.1';\n"
        )
        (self.folder / "init.sql").chmod(0o644)
        for name, file in zip(_TLS, self._certificate or (), strict=False):
            shutil.copyfile(file, self.folder / name)
            (self.folder / name).chmod(0o644)

    def command(self) -> Sequence[str | Path]:
        """The server with its defaults for durability."""
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
        """Whether it takes statements."""
        try:
            return self.sql("SELECT 1") == "1"
        except RuntimeError:
            return False

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.folder / "data"

    @property
    def _settings(self) -> list[str]:
        # Temporary tables of two servers may have one name: each has a place of its own for them.
        places = [f"--datadir={self.data}", f"--tmpdir={self.folder}"]
        return [*places, "--innodb-log-file-size=16M"]

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"
