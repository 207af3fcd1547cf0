"""A browser's EventSource follows the event stream of a server of another origin."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.end_to_end.browser import browser, needs_chromium, site
from tests.end_to_end.event_streams import RetryingUser
from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.waiting import wait_until

WRITES = 60

PAGE = """<!doctype html><title>feed</title><script>
const source = new EventSource(%s);
for (const kind of ["item.created", "item.updated", "item.deleted"])
  source.addEventListener(kind, event =>
    fetch("/seen", {method: "POST", keepalive: true,
      body: JSON.stringify([+event.lastEventId, event.type, JSON.parse(event.data).item])}));
source.onopen = () => fetch("/seen", {method: "POST", body: JSON.stringify([0, "open", null])});
</script>"""


@needs_chromium
def test_browser_receives_every_event_once_while_workers_are_killed(tmp_path: Path) -> None:
    with site() as page:
        settings = {"EVENTAPI_CORS_ORIGINS": page.origin}
        with Server(tmp_path / "data", 2, by_serve, settings) as server:
            ann = RetryingUser(server, "ann")
            ann.request("POST", "/items", {"title": "before"})
            stream = f"http://127.0.0.1:{server.port}/items/events?after=0&access_token={ann.token}"
            page.page = (PAGE % json.dumps(stream)).encode()
            with browser(page.origin, tmp_path / "profile"):
                wait_until(lambda: len(page.positions()) == 1)
                for number in range(WRITES):
                    ann.request("POST", "/items", {"title": f"title {number}"})
                    if number % 25 == 10:
                        for pid in server.worker_pids():
                            os.kill(pid, signal.SIGKILL)
                expected = [
                    number
                    for number, line in enumerate(server.log.read_bytes().splitlines(), 1)
                    if b'"type":"item.created"' in line
                ]
                wait_until(lambda: len(page.positions()) >= len(expected))
                assert page.positions() == expected
            opened = [kind for _, kind, _ in page.seen if kind == "open"]
            assert len(opened) > 1, "the browser never had to reconnect"
            assert ann.token not in server.output
