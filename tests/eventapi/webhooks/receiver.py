"""A receiver of webhooks, which records what it gets and answers as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook as Verifier

Answer = Callable[["Delivery"], int | None]
"""The status of the answer; ``None`` closes the connection without one."""


class Delivery:
    """A request that the receiver got."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def position(self) -> int:
        return int(self.headers["webhook-id"].partition("/")[2])

    def verify(self, secret: str) -> Any:
        """The event, checked by the package of Standard Webhooks."""
        return Verifier(secret).verify(self.body, self.headers)


def always(status: int | None) -> Answer:
    return lambda _: status


class Receiver:
    """The deliveries so far, and the answer to the next ones."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.deliveries: list[Delivery] = []
        self.answer: Answer = always(204)

    @property
    def positions(self) -> list[int]:
        return [one.position for one in self.deliveries]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        delivery = Delivery(self.path, headers, body)
        receiver.deliveries.append(delivery)
        status = receiver.answer(delivery)
        if status is None:
            return
        self.send_response(status)
        self.send_header("location", "http://127.0.0.1:1/")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver inside the context, on a free port by default."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
