"""Fixtures: a folder with the browser's programs, and a real server with users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.programs import Run, installed
from tests.console.service import Service, service
from tests.end_to_end.browser import CHROMIUM
from tests.generators.tools import needs


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a flow of a program in Chromium, which starts once."""
    needs("node", "npm")
    if CHROMIUM is None:
        pytest.skip("chromium is absent: apt-get install chromium")
    with installed(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a declared resource, an auditor and an operator."""
    with service(tmp_path_factory.mktemp("console") / "data") as found:
        yield found
        assert "Traceback" not in found.server.output
