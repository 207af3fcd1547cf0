"""Every kind of store of followers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import FollowerStore
from eventapi.followers.sql import SqlFollowers
from events.database.connection import Database

Open = Callable[[], Awaitable[FollowerStore]]
"""Opens the store of a test once more, as another process would if the adapter supports several."""

KINDS = ("memory", "files", "postgresql", "mariadb")


class OwnFollowers(SqlFollowers):
    """A store that closes its database, which it does not share."""

    async def close(self) -> None:
        await self.database.close()


def opener(kind: str, request: pytest.FixtureRequest, directory: Path) -> Open:
    """A function that opens an empty store of a kind."""
    memory = MemoryFollowers()
    url = request.getfixturevalue(kind).new_database() if kind in KINDS[2:] else ""

    async def open_once_more() -> FollowerStore:
        if kind == "memory":
            return memory
        if kind == "files":
            return FileFollowers(directory / "followers.sqlite")
        return OwnFollowers(await Database.open(url))

    return open_once_more
