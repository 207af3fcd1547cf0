"""The feeds in a real browser, by its own EventSource, from a page of another origin."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.test_feeds import Account

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 90.0
WRITES = 60

PAGE = """<!doctype html><title>feed</title><script>
const source = new EventSource(%s);
for (const kind of ["item.created", "item.updated", "item.deleted"])
  source.addEventListener(kind, event =>
    fetch("/seen", {method: "POST", keepalive: true,
      body: JSON.stringify([+event.lastEventId, event.type, JSON.parse(event.data).item])}));
source.onopen = () => fetch("/seen", {method: "POST", body: JSON.stringify([0, "open", null])});
</script>"""


class Site:
    """A page, and what its script says that it has seen."""

    def __init__(self) -> None:
        self.page = b""
        self.seen: list[tuple[int, str, int | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(site.page)

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                site.seen.append(tuple(told))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def positions(self) -> list[int]:
        """The events that came; posts may overtake each other, so by position."""
        return sorted(position for position, kind, _ in self.seen if kind != "open")


@contextmanager
def site() -> Iterator[Site]:
    found = Site()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()


@contextmanager
def browser(url: str, profile: Path) -> Iterator[None]:
    assert CHROMIUM is not None
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",  # Without it, a headless browser prints the page and ends.
    ]
    with subprocess.Popen(
        [CHROMIUM, *options, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is absent: apt-get install chromium")
def test_a_browser_follows_across_killed_workers(tmp_path: Path) -> None:
    with site() as page:
        settings = {"EVENTAPI_CORS_ORIGINS": page.origin}
        with Server(tmp_path / "data", 2, by_serve, settings) as server:
            ann = Account(server, "ann")
            ann.ask("POST", "/items", {"title": "before"})
            feed = f"http://127.0.0.1:{server.port}/items/events?after=0&access_token={ann.token}"
            page.page = (PAGE % json.dumps(feed)).encode()
            with browser(page.origin, tmp_path / "profile"):
                _until(lambda: len(page.positions()) == 1)
                for number in range(WRITES):
                    ann.ask("POST", "/items", {"title": f"title {number}"})
                    if number % 25 == 10:
                        for pid in server.worker_pids():
                            os.kill(pid, signal.SIGKILL)
                expected = [
                    number
                    for number, line in enumerate(server.log.read_bytes().splitlines(), 1)
                    if b'"type":"item.created"' in line
                ]
                _until(lambda: len(page.positions()) >= len(expected))
                assert page.positions() == expected
            opened = [kind for _, kind, _ in page.seen if kind == "open"]
            assert len(opened) > 1, "the browser never had to come back"
            assert ann.token not in server.output


def _until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)
