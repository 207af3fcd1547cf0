"""A PostgreSQL with a standby by streaming replication, and their fail-over."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.end_to_end.server import START_SECONDS
from tests.servers.postgresql import PASSWORD, USER, PostgreSQL
from tests.servers.service import Service, descendants

_PAUSE_SECONDS = 0.01


class Standby(PostgreSQL):
    """A standby of another server, until it is promoted."""

    def __init__(self, primary: PostgreSQL, port: int | None = None) -> None:
        super().__init__()
        self.port = port or self.port
        self._primary = primary

    def prepare(self) -> None:
        """Copy the primary's files, with its write-ahead log."""
        source = self._primary.url_of("postgres", "postgres")
        base: list[str | Path] = [self.program("pg_basebackup"), f"--dbname={source}"]
        options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        self.run([*base, *options, "--pgdata", self.data])

    def promote(self) -> None:
        """Make it a primary on a new timeline."""
        self.sql("SELECT pg_promote(true)")


class Pair:
    """A primary and its standby as a context; each keeps its port when they change places."""

    def __init__(self) -> None:
        self.primary = PostgreSQL()
        self.standby: PostgreSQL = Standby(self.primary)

    def __enter__(self) -> Self:
        self.primary.__enter__()
        try:
            self.standby.__enter__()
        except BaseException:
            self.primary.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.standby.__exit__()
        finally:
            self.primary.__exit__()

    @property
    def url(self) -> str:
        """The address of the default database, with both hosts."""
        ports = sorted((self.primary.port, self.standby.port))
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@{hosts}/{USER}"

    def replicate_synchronously(self) -> None:
        """Let every COMMIT wait for the standby from now on."""
        self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.sql("SELECT pg_reload_conf()")
        self._wait_for("SELECT sync_state FROM pg_stat_replication", "sync")

    def wait_until_replicated(self) -> None:
        """Wait until the standby has everything that is committed now."""
        end = self.primary.sql("SELECT pg_current_wal_lsn()")
        query = f"SELECT flush_lsn >= '{end}' FROM pg_stat_replication"
        self._wait_for(query, "t")

    def fail_over(self) -> None:
        """Kill the primary with SIGKILL, and promote the standby in its place."""
        self.primary.kill()
        self.promote()

    def promote(self) -> None:
        """Promote the standby, whatever the primary does."""
        assert isinstance(self.standby, Standby)
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def rebuild_standby(self) -> None:
        """Replace the server that is no longer primary by a new standby on its port."""
        old, self.standby = self.standby, Standby(self.primary, self.standby.port)
        old.__exit__()
        self.standby.__enter__()

    def _wait_for(self, query: str, answer: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.primary.sql(query) != answer:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {answer!r}: {query}")
            time.sleep(_PAUSE_SECONDS)


def freeze(server: Service, *, is_frozen: bool = True) -> None:
    """Stop all processes of a server, which is then silent; or continue them."""
    for pid in (server.pid, *descendants(server.pid)):
        with suppress(ProcessLookupError):  # That of a connection, which may end meanwhile.
            os.kill(pid, signal.SIGSTOP if is_frozen else signal.SIGCONT)
