"""The replaced service and the new server, started once for each test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.services import AS_BEFORE, Peer, Successor
from tests.servers.serving import serving


@pytest.fixture(scope="session")
def old() -> Iterator[Peer]:
    """The replaced service."""
    with serving(Peer()) as service:
        yield service


@pytest.fixture(scope="session")
def new() -> Iterator[Successor]:
    """The server under test, with settings to behave like the replaced service."""
    with serving(Successor(**AS_BEFORE)) as service:
        yield service


@pytest.fixture(scope="session")
def installed() -> Iterator[Successor]:
    """The server under test with its default settings."""
    with serving(Successor()) as service:
        yield service
