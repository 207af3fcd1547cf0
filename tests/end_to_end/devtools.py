"""Drive a page in headless Chromium over its pipe of the DevTools protocol, without a network."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.browser import CHROMIUM

_PATIENCE = 300.0
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # Where nothing listens, so no request can succeed.
    "--remote-debugging-pipe",
]


class Page:
    """A page, which is loaded from a file."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last_id = 0
        self._session: dict[str, str] = {}

    def open(self, url: str) -> None:
        """Open a new tab, and wait until its scripts have run."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        found = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        self._call("Page.enable")
        self._call("Page.navigate", url=url)
        self.run(
            "new Promise((done) => document.readyState === 'complete'"
            " ? done() : addEventListener('load', () => done()))"
        )

    def run(self, script: str) -> Any:
        """The value of an expression, which may be a promise."""
        found = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input of the page, as a person does."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters, **self._session}
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._commands, content) :]
        while True:
            answer = json.loads(self._next_message())
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def _next_message(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\0" not in self._unread:
                if not selector.select(_PATIENCE):
                    raise TimeoutError("the browser does not answer")
                self._unread += os.read(self._answers, 65_536)
        message, self._unread = self._unread.split(b"\0", 1)
        return message


@contextmanager
def offline_page(url: str, profile: Path) -> Iterator[Page]:
    """Open a page in a browser that reaches no network."""
    assert CHROMIUM is not None
    reading, commands = os.pipe()
    answers, writing = os.pipe()
    # Chromium reads its commands from descriptor 3, and writes its answers to 4.
    script = f'exec 3<&{reading} 4>&{writing} && exec "$@"'
    with subprocess.Popen(
        ["bash", "-c", script, "bash", CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(reading, writing),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        os.close(reading)
        os.close(writing)
        try:
            page = Page(commands, answers)
            page.open(url)
            yield page
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            os.close(commands)
            os.close(answers)
