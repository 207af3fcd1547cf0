"""Every kind of store with a log and its vault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Protocol

import pytest

from events.database.connection import Database
from events.errors import LogUnavailable
from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.reader import JsonlReader
from events.log.memory import MemoryLog
from events.log.port import EventLog
from events.log.sql.log import SqlLog
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from events.vault.sql import SqlVault
from events.vault.sqlite import SqliteVault
from tests.servers.galera import Cluster


class Store(Protocol):
    """A log and its vault."""

    async def open_log(self) -> EventLog:
        """Open the log once more, as another process would if the store has several."""

    async def open_vault(self) -> Vault:
        """Open the vault once more, likewise."""


class Memory:
    """One log and one vault, which every opening returns."""

    def __init__(self) -> None:
        self._log, self._vault = MemoryLog(), MemoryVault()

    async def open_log(self) -> EventLog:
        return self._log

    async def open_vault(self) -> Vault:
        return self._vault


class Files:
    """A log and a vault in files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def open_log(self) -> EventLog:
        return JsonlLog(self._directory / "events.jsonl")

    async def open_vault(self) -> Vault:
        return SqliteVault(self._directory / "keys.sqlite")


class _ReaderLog(JsonlLog):
    """A log that is read through a read-only reader, which follows the appends."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reader = JsonlReader(path)

    @property
    def position(self) -> int:
        return self._reader.position

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        return self._reader.read(after, upto)

    async def close(self) -> None:
        await self._reader.close()
        await super().close()


class _ReaderVault(SqliteVault):
    """A vault that is read through a read-only one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reader = SqliteVault(path, writable=False)

    async def get(self, subjects: Collection[str]) -> dict[str, bytes]:
        return await self._reader.get(subjects)

    async def all(self) -> dict[str, bytes]:
        return await self._reader.all()

    async def close(self) -> None:
        await self._reader.close()
        await super().close()


class Reader(Files):
    """The same files, read as a command does that may only read."""

    async def open_log(self) -> EventLog:
        return _ReaderLog(self._directory / "events.jsonl")

    async def open_vault(self) -> Vault:
        return _ReaderVault(self._directory / "keys.sqlite")


class ClosingLog(_ReaderLog):
    """A log that closes segments after every append, if it has a whole tile more."""

    @asynccontextmanager
    async def exclusive(self, timeout: float) -> AsyncIterator[JsonlLog]:
        async with super().exclusive(timeout) as appender:
            yield appender
        with suppress(LogUnavailable):  # Another appender has the lock now.
            await close_segments(self, 1, timeout)


class Closing(Files):
    """The same files, of which the first part is closed, and read as a command does."""

    async def open_log(self) -> EventLog:
        return ClosingLog(self._directory / "events.jsonl")


class _OwnLog(SqlLog):
    """A log that closes its database, which it does not share."""

    async def close(self) -> None:
        await super().close()
        await self.database.close()


class _OwnVault(SqlVault):
    """A vault that closes its database, which it does not share."""

    async def close(self) -> None:
        await self._database.close()


class Rows:
    """Tables of a database, with this machine's commit index in a directory."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.index = directory / "database.mark"

    async def open_log(self) -> EventLog:
        return await _OwnLog.open(await Database.open(self.url), self.index)

    async def open_vault(self) -> Vault:
        return _OwnVault(await Database.open(self.url))


class Nodes(Rows):
    """Tables of a Galera cluster; each log and vault is opened at the next node."""

    def __init__(self, urls: Sequence[str], directory: Path) -> None:
        super().__init__(urls[0], directory)
        self._urls = cycle(urls)

    async def open_log(self) -> EventLog:
        self.url = next(self._urls)
        return await super().open_log()

    async def open_vault(self) -> Vault:
        self.url = next(self._urls)
        return await super().open_vault()


KINDS = ("memory", "files", "reader", "closing", "postgresql", "mariadb")
SERVERLESS, DATABASES = KINDS[:4], KINDS[4:]
LINES_PER_FRAME = 2
"""Of a log that closes segments: so few that short logs have some."""


def new_store(kind: str, request: pytest.FixtureRequest, directory: Path) -> Store:
    """Make an empty store of a kind; a database server starts at its first use."""
    if kind in {"postgresql", "mariadb"}:
        return Rows(request.getfixturevalue(kind).new_database(), directory)
    if kind == "galera":
        cluster: Cluster = request.getfixturevalue(kind)
        database = cluster.new_database()
        return Nodes([node.url_of(database) for node in cluster.nodes], directory)
    if kind == "closing":
        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        patch.setattr(closed, "LINES_PER_FRAME", LINES_PER_FRAME)
    without_server: dict[str, Callable[[], Store]] = {
        "memory": Memory,
        "files": partial(Files, directory),
        "reader": partial(Reader, directory),
        "closing": partial(Closing, directory),
    }
    return without_server[kind]()
