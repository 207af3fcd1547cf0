"""The documentation page in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server import Server, by_serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is absent: apt-get install chromium"),
]

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("docs") / "data", 1, by_serve) as server:
        yield f"http://127.0.0.1:{server.port}"


def drawn(url: str, profile: Path) -> str:
    """The page as it is once everything is loaded and no timer is due."""
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
def test_the_page_draws_every_operation_of_its_version_once(
    address: str, tmp_path: Path, page: str, version: str
) -> None:
    document = httpx.get(f"{address}/api/{version}/openapi.json").json()
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    html = drawn(f"{address}{page}", tmp_path)
    assert sorted(re.findall(r'id="operations-(?!tag-)\w+?-(\w+)"', html)) == sorted(ids)
    assert "opblock-body" not in html  # Everything is collapsed.
    assert "Resolver error" not in html
    assert f'aria-current="page">Version {version[1:]}' in html
