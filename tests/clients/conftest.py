"""Both services as processes, for all tests of one process that runs tests."""

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
    """Our server, with settings by which it does as the replaced service did."""
    with serving(Successor(**AS_BEFORE)) as service:
        yield service


@pytest.fixture(scope="session")
def installed() -> Iterator[Successor]:
    """Our server without any such setting."""
    with serving(Successor()) as service:
        yield service
