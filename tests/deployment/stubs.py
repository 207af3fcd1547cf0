"""Upstreams that fail in known ways, and remember what they were asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Stub(ThreadingHTTPServer):
    """It answers 200, or breaks off after the whole request where it is ``broken``.

    ``asked`` has method, path and Idempotency-Key of every request but those for its health.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.broken = False
        self.ready = True
        self.asked: list[tuple[str, str, str | None]] = []

    @property
    def port(self) -> int:
        return self.server_port


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 200
        if self.path == "/health/ready":
            status = 200 if self.server.ready else 503
        else:
            key = self.headers.get("Idempotency-Key")
            self.server.asked.append((self.command, self.path, key))
            if self.server.broken:
                self.close_connection = True
                return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - theirs

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def stubs(count: int) -> Iterator[list[Stub]]:
    """Some of them, serving."""
    found = [Stub() for _ in range(count)]
    for stub in found:
        Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield found
    finally:
        for stub in found:
            stub.shutdown()
            stub.server_close()
