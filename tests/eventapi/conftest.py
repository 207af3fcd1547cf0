"""Fixtures of the journal, for all tests of eventapi."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventapi.harness import Storage


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A log and a vault, in memory and in files."""
    return Storage(request.param, tmp_path)
