"""Swagger UI in a real browser: what it shows, and that its requests work."""

from __future__ import annotations

import pytest

from tests.console.programs import Run
from tests.console.service import Service


@pytest.mark.parametrize(("path", "version"), [("/docs", "v2"), ("/docs/v1", "v1")])
def test_a_person_logs_in_and_sends_requests(
    run: Run, served: Service, path: str, version: str
) -> None:
    """The page has each operation of one version, and its proposed requests succeed."""
    run("swagger.mjs", "tryItOut", path=path, version=version, **served.options)


@pytest.mark.parametrize(("path", "version"), [("/docs", "v2"), ("/docs/v1", "v1")])
def test_a_person_with_a_second_factor_uses_an_api_key(
    run: Run, served: Service, path: str, version: str
) -> None:
    """The form to log in says so."""
    run("swagger.mjs", "secondFactor", path=path, version=version, **served.options)
