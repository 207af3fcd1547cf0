"""Schemathesis against a live server, with all of its checks on.

The default is a short run over version 2; ``SCHEMATHESIS_SECONDS=600`` is a long one over all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.server import Server, by_uvicorn
from tests.eventapi.cli.running import clean_environment

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "0"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a real server with its own data directory."""
    with Server(tmp_path / "data", 1, by_uvicorn) as running:
        yield f"http://127.0.0.1:{running.port}"
        assert running.health(), "the server has exited"
    assert "Traceback" not in running.output, running.output


@pytest.mark.long
def test_schemathesis_finds_no_breach_of_the_contract(server: str, tmp_path: Path) -> None:
    amount = ["--max-time", str(SECONDS), "--max-examples", "200"]
    if not SECONDS:
        # Only version 2, because version 1 shares its handlers.
        amount = ["--max-examples", "4", "--no-shrink", "--seed", "1"]
        amount += ["--include-path-regex", "^/(api/v2|docs|openapi|problems)"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{server}/openapi.json", "--checks", "all", "--workers", "2"),
            *("--phases", "examples,coverage,fuzzing,stateful", *amount),
        ],
        cwd=tmp_path,
        env=clean_environment(SCHEMATHESIS_HOOKS="tests.eventapi.http.schemathesis_hooks"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 500
