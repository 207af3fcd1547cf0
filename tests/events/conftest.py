"""Fixtures for tests of logs, vaults and databases."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.events.rows import Server


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """A database server: one of each kind, in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(server: Server) -> str:
    """The URL of an empty database of the server."""
    return server.new_database()


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage at the end of a test, so that its warnings belong to the test."""
    yield
    gc.collect()


@pytest.fixture
async def cleanup() -> AsyncIterator[AsyncExitStack]:
    """Close the logs, vaults and databases of a test when it ends, the last one first."""
    async with AsyncExitStack() as stack:
        yield stack
