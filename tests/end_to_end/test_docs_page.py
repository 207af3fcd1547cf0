"""The documentation page in a real browser."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.browser import CHROMIUM, needs_chromium
from tests.end_to_end.server import Server, by_serve

pytestmark = [pytest.mark.long, needs_chromium]

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("docs") / "data", 1, by_serve) as server:
        yield server.url


def rendered_html(url: str, profile: Path) -> str:
    """The DOM of the page after everything is loaded and no timer is pending."""
    command = [CHROMIUM or "", *OPTIONS, f"--user-data-dir={profile}"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=60000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(("page", "version"), [("/docs", "v2"), ("/docs/v1", "v1")])
def test_page_shows_every_operation_of_its_version_once(
    address: str, tmp_path: Path, page: str, version: str
) -> None:
    document = httpx.get(f"{address}/api/{version}/openapi.json").json()
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    html = rendered_html(f"{address}{page}", tmp_path)
    assert sorted(re.findall(r'id="operations-(?!tag-)\w+?-(\w+)"', html)) == sorted(ids)
    assert "opblock-body" not in html  # All operations are collapsed.
    assert "Resolver error" not in html
    assert f'aria-current="page">Version {version[1:]}' in html
