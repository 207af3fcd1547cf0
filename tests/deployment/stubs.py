"""Stub upstreams that fail in defined ways and record their requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Stub(ThreadingHTTPServer):
    """Answers 200 or, if ``broken``, closes the connection after reading the request.

    ``requests`` has method, path and Idempotency-Key of every request except health checks.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.broken = False
        self.ready = True
        self.requests: list[tuple[str, str, str | None]] = []

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
            self.server.requests.append((self.command, self.path, key))
            if self.server.broken:
                self.close_connection = True
                return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def run_stubs(count: int) -> Iterator[list[Stub]]:
    """Run stubs in threads."""
    found = [Stub() for _ in range(count)]
    for stub in found:
        Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield found
    finally:
        for stub in found:
            stub.shutdown()
            stub.server_close()
