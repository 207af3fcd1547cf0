"""Fixtures of the tests of whole servers."""

from __future__ import annotations

import pytest

from tests.end_to_end.server import Command, by_serve, by_uvicorn


@pytest.fixture(params=[by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def command(request: pytest.FixtureRequest) -> Command:
    """Both ways to start a server."""
    found: Command = request.param
    return found
