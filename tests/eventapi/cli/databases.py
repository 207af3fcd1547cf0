"""Databases in tests of commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy

from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.database.connection import Database
from events.vault.sql import SqlVault
from tests.eventapi.cli.running import written

NEEDS_DATABASE = [
    pytest.mark.long,  # Each test needs a database or two.
    # The drivers leave lost connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]

PASSWORDS = ("a%20password", "a password")
"""The password in the URLs, encoded and decoded; no command may print it."""


def write_log_with_erasure(folder: Path) -> None:
    """Write a log of two users with five items each; the second user is erased."""
    items = [create_item(1 + number % 2, Content(f"item {number}")) for number in range(10)]
    users = RegisterUser(profile("ann")), RegisterUser(profile("ben"))
    written(folder, *users, *items, EraseUser("ben", "users/2"))


def in_database(url: str, work: Callable[[Database], Awaitable[object]]) -> object:
    """Open a database, and run work with it."""

    async def run_it() -> object:
        database = await Database.open(url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run_it())


def change_rows(url: str, statement: sqlalchemy.Executable) -> None:
    """Execute a statement in a database, without the checks of the server."""

    async def work(database: Database) -> None:
        async with database.writing.begin() as connection:
            await connection.execute(statement)

    in_database(url, work)


def keys_in(url: str) -> dict[str, bytes]:
    """The keys of the vault in a database."""
    found = in_database(url, lambda database: SqlVault(database).all())
    assert isinstance(found, dict)
    return found
