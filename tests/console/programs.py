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
_END_SECONDS = 30

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
    chromium = _Chromium(folder)
    try:
        yield _runner(folder, chromium)
    finally:
        chromium.stop()


class _Chromium:
    """A Chromium that flows connect to; it starts again if it has ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start()

    def _start(self) -> None:
        assert CHROMIUM is not None, "chromium is absent"
        self._server = subprocess.Popen(
            ["node", "server.mjs", CHROMIUM],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        self._endpoint = self._server.stdout.readline().strip()
        assert self._endpoint.startswith("ws://"), "chromium does not start"

    def endpoint(self) -> str:
        """The address of a Chromium that runs."""
        if self._server.poll() is not None:
            self.stop()
            self._start()
        return self._endpoint

    def stop(self) -> None:
        """End it, by force if it does not end by itself."""
        assert self._server.stdin is not None
        with self._server:
            self._server.stdin.close()
            try:
                self._server.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()


def _runner(folder: Path, chromium: _Chromium) -> Run:
    def run(program: str, flow: str, **options: Any) -> Any:
        given = json.dumps({"chromium": chromium.endpoint()} | options)
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
