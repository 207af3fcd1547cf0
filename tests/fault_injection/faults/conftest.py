"""Where servers under faults keep their data."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that does not exist yet; what servers say is kept beside it."""
    return tmp_path / "data"
