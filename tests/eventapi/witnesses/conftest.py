"""Two running witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventapi.witnesses.witness_server import Running, witnessing


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Running]:
    with witnessing(tmp_path / "w1", "witness.example/w1") as running:
        yield running


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Running]:
    with witnessing(tmp_path / "w2", "witness.example/w2") as running:
        yield running
