"""Servers for whole-server tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.server import Command, by_serve, by_uvicorn


@pytest.fixture(params=[by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def command(request: pytest.FixtureRequest) -> Command:
    """Both ways of starting a server."""
    found: Command = request.param
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that does not exist yet; what servers say is kept beside it."""
    return tmp_path / "data"
