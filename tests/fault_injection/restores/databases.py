"""State machine: a database is dumped and loaded, instances lose their files."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from eventapi.configuration.settings import Settings
from events.database.tables import METADATA
from events.errors import EventapiError
from tests.eventapi.cli.running import invoke
from tests.fault_injection.restores.judge import Judge
from tests.fault_injection.restores.serving import serve
from tests.servers.postgresql import PostgreSQL

TABLES = tuple(METADATA.tables)

instances = st.sampled_from(["1", "2"])
picks = st.integers(0, 30)


class DatabaseRestores(RuleBasedStateMachine):
    """Two instances, each with a data directory, over PostgreSQL."""

    server: ClassVar[PostgreSQL]
    totals: ClassVar[dict[str, int]] = {"histories": 0, "compared": 0, "checkpoints": 0}

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="eventapi-restores-"))
        self.judge = Judge()
        self.url = self.server.new_database()
        self.dumps: list[tuple[str, str]] = []
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        self.runner.close()
        shutil.rmtree(self.root)
        self.totals["histories"] += 1
        self.totals["compared"] += self.judge.compared
        self.totals["checkpoints"] += sum(map(len, self.judge.issued.values()))

    @initialize()
    def begin(self) -> None:
        """Start an instance with a user and issue a checkpoint."""
        self.runner.run(self._serve("1", 2, with_checkpoint=True))

    async def _serve(self, instance: str, titles: int, with_checkpoint: bool) -> None:
        settings = Settings(data=str(self.root / instance), log=self.url)
        await serve(settings, self.judge, instance, titles, with_checkpoint)

    def serve(self, instance: str, titles: int, *, with_checkpoint: bool) -> None:
        """Run an instance that writes and may issue a checkpoint; it may refuse to start."""
        with suppress(EventapiError):
            self.runner.run(self._serve(instance, titles, with_checkpoint))

    @rule(instance=instances, titles=st.integers(1, 3))
    def write(self, instance: str, titles: int) -> None:
        self.serve(instance, titles, with_checkpoint=False)

    @rule(instance=instances, titles=st.integers(0, 3))
    def write_and_sign(self, instance: str, titles: int) -> None:
        self.serve(instance, titles, with_checkpoint=True)

    @rule()
    def dump(self) -> None:
        dump = self.server.program("pg_dump")
        whole = self.server.run([dump, "--no-owner", "--clean", "--if-exists", self.url])
        rows = self.server.run([dump, "--no-owner", "--data-only", self.url])
        self.dumps.append((whole, rows))

    def _load(self, statements: str) -> None:
        psql = self.server.program("psql")
        self.server.run([psql, "--quiet", "--set=ON_ERROR_STOP=1", self.url], statements)

    @rule(pick=picks)
    def load_into_another_database(self, pick: int) -> None:
        if self.dumps:
            self.url = self.server.new_database()
            self._load(self.dumps[pick % len(self.dumps)][0])

    @rule(pick=picks)
    def load_over_the_old_tables(self, pick: int) -> None:
        if self.dumps:
            self._load(self.dumps[pick % len(self.dumps)][0])

    @rule(pick=picks)
    def load_the_rows_alone(self, pick: int) -> None:
        if self.dumps:
            emptied = "".join(f"DELETE FROM {table};" for table in TABLES)
            self._load(emptied + self.dumps[pick % len(self.dumps)][1])

    @rule(instance=instances)
    def lose_the_data_directory(self, instance: str) -> None:
        shutil.rmtree(self.root / instance, ignore_errors=True)

    @rule(instance=instances)
    def remove_the_mark(self, instance: str) -> None:
        """As the error message about an older database instructs."""
        for mark in (self.root / instance).glob("*.mark"):
            mark.unlink()

    @rule(instance=instances)
    def show_the_newest_checkpoint(self, instance: str) -> None:
        newest = self.root / "newest"
        for origin in self.judge.issued:
            newest.write_text(str(self.judge.newest(origin)))
            self._restore(instance, "--checkpoint", str(newest))

    @rule(instance=instances)
    def begin_a_new_key(self, instance: str) -> None:
        self._restore(instance, "--new-key")

    def _restore(self, instance: str, *options: str) -> None:
        (self.root / instance).mkdir(exist_ok=True)
        invoke(self.root / instance, "log", "restore", *options, EVENTAPI_LOG=self.url)
