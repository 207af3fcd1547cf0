"""Fixtures of tests of a log in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.log.file import closed
from tests.events.log_helpers import TILE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed, "LINES_PER_FRAME", TILE)
