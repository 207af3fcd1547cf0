"""A real server for the tests of a module; `tests.security.raw` speaks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.server import Server, by_serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process, as ``eventapi serve`` starts it; it says nothing, and ends as it should."""
    with Server(tmp_path_factory.mktemp("server") / "data", 1, by_serve) as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.output


@pytest.fixture(scope="module")
def port(server: Server) -> int:
    """Where it listens."""
    return server.port
