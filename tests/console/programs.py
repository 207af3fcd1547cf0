"""Install the packages of npm that drive Chromium, and run programs with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
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
"""Runs a flow of a program with options, and returns its result."""


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
        yield chromium.run
    finally:
        chromium.stop()


class _Chromium:
    """A Chromium in which flows run; it starts again if it has ended."""

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
        assert self._answer() == "ready", "chromium does not start"

    def _answer(self) -> Any:
        """The next line that it prints; it is killed if there is none for long."""
        assert self._server.stdout is not None
        limit = threading.Timer(_SECONDS, self._server.kill)
        limit.start()
        try:
            line = self._server.stdout.readline()
        finally:
            limit.cancel()
        assert line, "node or Chromium has ended; see standard error"
        return json.loads(line)

    def run(self, program: str, flow: str, **options: Any) -> Any:
        """Run a flow in a browser context of its own."""
        if self._server.poll() is not None:
            self.stop()
            self._start()
        assert self._server.stdin is not None
        wanted = {"program": program, "flow": flow, "options": options}
        self._server.stdin.write(json.dumps(wanted) + "\n")
        self._server.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer["error"][-6_000:]
        return answer["result"]

    def stop(self) -> None:
        """End it, by force if it does not end by itself."""
        assert self._server.stdin is not None
        with self._server:
            self._server.stdin.close()
            try:
                self._server.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
