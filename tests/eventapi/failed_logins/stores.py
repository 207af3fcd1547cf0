"""Every kind of store of counts of failed logins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from eventapi.failed_logins.file import FileFailedLogins
from eventapi.failed_logins.memory import MemoryFailedLogins
from eventapi.failed_logins.port import FailedLoginStore
from eventapi.failed_logins.sql import SqlFailedLogins
from eventapi.followers.file import FileFollowers
from events.database.connection import Database

KINDS = ("memory", "files", "postgresql", "mariadb")

Open = Callable[[], Awaitable[FailedLoginStore]]
"""Opens the store of a test once more, as another process would if the adapter supports several."""


def opener(
    kind: str, request: pytest.FixtureRequest, directory: Path, stack: AsyncExitStack
) -> Open:
    """A function that opens an empty store of a kind, which ``stack`` closes."""
    memory = MemoryFailedLogins()
    url = request.getfixturevalue(kind).new_database() if kind in KINDS[2:] else ""

    async def open_once_more() -> FailedLoginStore:
        if kind == "memory":
            return memory
        if kind == "files":
            file = FileFollowers(directory / "followers.sqlite")
            stack.push_async_callback(file.close)
            return FileFailedLogins(file)
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        return SqlFailedLogins(database)

    return open_once_more
