"""Programs for Node with axios and eventsource, as they come from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.idioms import logged_in
from tests.clients.services import Peer, Successor

NPM = shutil.which("npm")
SCRIPTS = Path(__file__).parent / "node"
PACKAGES = ("axios@^1.12", "eventsource@^4 || ^5")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NPM is None, reason="npm is absent: apt-get install npm"),
]

Run = Callable[..., Any]
"""From the name of a script and its arguments to the JSON that it prints."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The scripts beside the packages that they import."""
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


def test_an_old_program_with_axios_sees_the_same(old: Peer, new: Successor, run: Run) -> None:
    # Given what a program saw of the replaced service,
    before = run("old_client.mjs", old.url, _name())
    # when it runs with this server,
    after = run("old_client.mjs", new.url, _name())
    # then it sees the same.
    assert after == before


def test_an_interceptor_refreshes_for_expired_tokens_alone(new: Successor, run: Run) -> None:
    # Given an interceptor of axios that refreshes after a 401,
    # when a current password is mistyped, and when an access token is no longer good,
    found = run("refreshing.mjs", f"{new.url}/api/v2", _name())
    # then it refreshes for the token alone, and nobody is logged out.
    assert found == {"seen": [403, 403, 200], "before": 0, "refreshed": 1, "loggedOut": False}


@pytest.mark.parametrize("prefix", ["", "/api/v2"], ids=["v1", "v2"])
def test_eventsource_reads_json_from_the_first_event(new: Successor, run: Run, prefix: str) -> None:
    # Given the feed of one's items,
    titles = [f"Item {number}" for number in range(3)]
    with logged_in(new.url) as session:
        for title in titles:
            session.post(f"{new.url}/items", json={"title": title}).raise_for_status()
        token = str(session.headers["Authorization"]).removeprefix("Bearer ")
    # when the package eventsource follows it,
    found = run("feed.mjs", f"{new.url}{prefix}", token, str(len(titles)))
    # then the data of every event is JSON.
    assert found == titles
