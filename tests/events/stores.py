"""Every store that keeps a log and its vault, each empty and to be opened as often as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from events.database import Database
from events.log.jsonl import JsonlLog
from events.log.memory import MemoryLog
from events.log.port import EventLog
from events.log.sql import SqlLog
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from events.vault.sql import SqlVault
from events.vault.sqlite import SqliteVault


class Store(Protocol):
    """A log and the vault that belongs to it."""

    async def open_log(self) -> EventLog:
        """Open the log once more, as another process would where the store has any."""

    async def open_vault(self) -> Vault:
        """Open the vault once more, likewise."""


class Memory:
    """One object each, however often they are opened."""

    def __init__(self) -> None:
        self._log, self._vault = MemoryLog(), MemoryVault()

    async def open_log(self) -> EventLog:
        return self._log

    async def open_vault(self) -> Vault:
        return self._vault


class Files:
    """Files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def open_log(self) -> EventLog:
        return JsonlLog(self._directory / "events.jsonl")

    async def open_vault(self) -> Vault:
        return SqliteVault(self._directory / "keys.sqlite")


class _OwnLog(SqlLog):
    """A log that closes the connections that were made for it alone."""

    async def close(self) -> None:
        await super().close()
        await self._database.close()


class _OwnVault(SqlVault):
    """A vault likewise."""

    async def close(self) -> None:
        await self._database.close()


class Rows:
    """Tables of a database, of which this machine has a mark in a directory."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.mark = directory / "database.mark"

    async def open_log(self) -> EventLog:
        return await _OwnLog.open(await Database.open(self.url), self.mark)

    async def open_vault(self) -> Vault:
        return _OwnVault(await Database.open(self.url))


KINDS = ("memory", "files", "postgresql", "mariadb")


def new_store(kind: str, request: pytest.FixtureRequest, directory: Path) -> Store:
    """An empty store of a kind; a database starts when it is asked for first."""
    if kind in {"postgresql", "mariadb"}:
        return Rows(request.getfixturevalue(kind).new_database(), directory)
    return Memory() if kind == "memory" else Files(directory)
