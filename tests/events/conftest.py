"""Databases of every make."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.events.rows import Server


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """A database server of every make."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(server: Server) -> str:
    """An empty database of it."""
    return server.new_database()


@pytest.fixture
def collected() -> Iterator[None]:
    """What a test leaves to the collector is collected with the test."""
    yield
    gc.collect()
