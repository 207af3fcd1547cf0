"""Programs for Node that use the npm packages axios and eventsource."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.idioms import log_in
from tests.clients.services import Peer, Successor

NPM = shutil.which("npm")
SCRIPTS = Path(__file__).parent / "node"
PACKAGES = ("axios@^1.12", "eventsource@^4 || ^5")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NPM is None, reason="npm is absent: apt-get install npm"),
]

Run = Callable[..., Any]
"""Runs a script with arguments and returns the JSON that it prints."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Install the packages, and return a function that runs a script beside them."""
    folder = tmp_path_factory.mktemp("node")
    install = [NPM or "npm", "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    subprocess.run(install, cwd=folder, check=True, timeout=300)
    shutil.copytree(SCRIPTS, folder, dirs_exist_ok=True)

    def run(script: str, *arguments: str) -> Any:
        command = ["node", script, *arguments]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def _name() -> str:
    return f"u-{uuid.uuid4().hex[:12]}"


def test_an_old_program_with_axios_observes_the_same_on_both_services(
    old: Peer, new: Successor, run: Run
) -> None:
    before = run("old_client.mjs", old.url, _name())

    after = run("old_client.mjs", new.url, _name())

    assert after == before


def test_an_interceptor_refreshes_for_an_expired_token_only(new: Successor, run: Run) -> None:

    found = run("refreshing.mjs", f"{new.url}/api/v2", _name())

    assert found == {"seen": [403, 403, 200], "before": 0, "refreshed": 1, "loggedOut": False}


@pytest.mark.parametrize("prefix", ["", "/api/v2"], ids=["v1", "v2"])
def test_eventsource_reads_every_event_as_json(new: Successor, run: Run, prefix: str) -> None:
    titles = [f"Item {number}" for number in range(3)]
    with log_in(new.url) as session:
        for title in titles:
            session.post(f"{new.url}/items", json={"title": title}).raise_for_status()
        token = str(session.headers["Authorization"]).removeprefix("Bearer ")

    found = run("feed.mjs", f"{new.url}{prefix}", token, str(len(titles)))

    assert found == titles
