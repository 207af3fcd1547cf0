"""Schemathesis against a live server, with all of its checks on.

By default a short run over version 2; ``SCHEMATHESIS_SECONDS=600`` makes it a long one over all.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "0"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EVENTAPI_")}
    return kept | more


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a real server on a data directory of its own."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    arguments = ["--factory", "eventapi.app:create_app", "--port", str(port), "--no-access-log"]
    environment = clean_environment(
        EVENTAPI_DATA=str(tmp_path / "data"),
        EVENTAPI_RATE_LIMIT="off",
        EVENTAPI_RATE_LIMIT_LOGIN="off",
        EVENTAPI_LOG_LEVEL="warning",
    )
    with (
        (tmp_path / "server.log").open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *arguments],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            wait_until_ready(address)
            yield address
            assert process.poll() is None, "the server has died"
        finally:
            process.terminate()
    told = (tmp_path / "server.log").read_text()
    assert "Traceback" not in told, told


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.mark.long
def test_nothing_that_schemathesis_can_think_of_breaks_the_contract(
    server: str, tmp_path: Path
) -> None:
    amount = ["--max-time", str(SECONDS), "--max-examples", "200"]
    if not SECONDS:
        # Version 2, for version 1 shares its controllers.
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
        env=clean_environment(
            SCHEMATHESIS_HOOKS="tests.eventapi.http.schemathesis_hooks", PYTHONPATH=str(ROOT)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 500
