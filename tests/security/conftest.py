"""A real server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.server import Server, by_serve
from tests.eventapi.http.client import Api
from tests.security.raw import LIVE, ask


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker of ``eventapi serve``, which must exit without a traceback."""
    with Server(tmp_path_factory.mktemp("server") / "data", 1, by_serve) as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.output


@pytest.fixture(scope="module")
def port(server: Server) -> int:
    """The port of the server."""
    return server.port


@pytest.fixture
def api() -> Iterator[Api]:
    """An app in this process, for one test."""
    with Api() as running:
        yield running


def assert_healthy(server: Server) -> None:
    """Assert that the server answers, and has printed nothing since its start."""
    assert ask(server.port, LIVE).status == 200
    assert server.output.endswith("Press Ctrl-C to stop.\n"), "it has logged an error"
    assert server.output.count("\n") == 4, "it has logged an error"
