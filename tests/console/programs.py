"""Install the packages of npm that drive Chromium, and run programs with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.browser import CHROMIUM

PACKAGES = ("playwright-core@^1.50", "axe-core@^4.10")
PROGRAMS = Path(__file__).parent / "browser"
_SECONDS = 300

Run = Callable[..., Any]
"""Runs a flow of a program with options, and returns what it prints."""


@contextmanager
def installed(folder: Path) -> Iterator[Run]:
    """Install everything in a folder and start Chromium; the function runs a flow in it."""
    (folder / "package.json").write_text('{"type": "module"}')
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(
        ["npm", "install", *options, *PACKAGES],
        cwd=folder,
        check=True,
        timeout=_SECONDS,
        env=os.environ | {"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"},
    )
    shutil.copytree(PROGRAMS, folder, dirs_exist_ok=True)
    with _chromium(folder) as endpoint:
        yield _runner(folder, endpoint)


@contextmanager
def _chromium(folder: Path) -> Iterator[str]:
    """Run a Chromium; the address that flows connect to."""
    assert CHROMIUM is not None, "chromium is absent"
    with subprocess.Popen(
        ["node", "server.mjs", CHROMIUM],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def _runner(folder: Path, endpoint: str) -> Run:
    def run(program: str, flow: str, **options: Any) -> Any:
        given = json.dumps({"chromium": endpoint} | options)
        done = subprocess.run(
            ["node", program, flow, given],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-6_000:]
        return json.loads(done.stdout)

    return run
