"""A client that was generated for the replaced service works with this server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.services import Peer, Successor

PROGRAM = Path(__file__).with_name("generated_client.py")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        find_spec("openapi_python_client") is None,
        reason="openapi-python-client is absent: pip install --group test-all",
    ),
]


@pytest.fixture(scope="module")
def generated(old: Peer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated client."""
    folder = tmp_path_factory.mktemp("generated")
    document, configuration = folder / "openapi.json", folder / "configuration.yml"
    document.write_bytes(httpx.get(f"{old.url}/openapi.json").content)
    configuration.write_text("post_hooks: []\n")
    generate = ["-m", "openapi_python_client", "generate", "--path", str(document)]
    where = ["--output-path", str(folder / "client"), "--config", str(configuration)]
    subprocess.run([sys.executable, *generate, *where], check=True, timeout=120)
    return folder / "client"


def _observe(generated: Path, url: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), url],
        env={**os.environ, "PYTHONPATH": str(generated)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_generated_client_observes_the_same_on_both_services(
    old: Peer, new: Successor, generated: Path
) -> None:
    before = _observe(generated, old.url)

    after = _observe(generated, new.url)

    assert after == before
