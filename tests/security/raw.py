"""A client over raw sockets that sends any bytes (RFC 9112)."""

from __future__ import annotations

import json
import socket
import ssl
from types import TracebackType
from typing import Any, Self

import msgspec

TIMEOUT_SECONDS = 10.0

HOST = b"Host: test\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"


class Answer(msgspec.Struct, frozen=True):
    """A complete answer; ``fields`` are all header fields, with names in lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.fields if key == name]

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of the problem, after checking that it is valid (RFC 9457).

        An error of version 1 has the same members, and FastAPI's ``detail``.
        """
        document = self.json()
        if self.all("content-type") == ["application/json"]:
            assert {"type", "title", "status", "detail", "request_id"} <= document.keys(), self
            assert isinstance(document["detail"], list if self.status == 422 else str), self
        else:
            assert self.all("content-type") == ["application/problem+json"], self
        assert document["status"] == self.status, self
        assert [document["request_id"]] == self.all("x-request-id"), self
        return str(document["type"]).removeprefix("/problems/")


class Wire:
    """A connection to a server on the loopback. Use it in a ``with`` statement."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes unchanged."""
        self.socket.sendall(b"".join(parts))

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer; raises `EOFError` if the connection ends within it."""
        while True:
            head = self._until(b"\r\n\r\n").decode("latin-1")
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            version, status, _ = first.split(" ", 2)
            assert version == "HTTP/1.1", first
            if int(status) >= 200:
                break
        fields = [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines)]
        length = next((int(value) for name, value in fields if name == "content-length"), 0)
        is_chunked = ("transfer-encoding", "chunked") in fields
        body = b""
        if method != "HEAD":
            body = self._chunks() if is_chunked else self.read_exactly(length)
        return Answer(int(status), fields, body)

    def interim(self) -> bytes:
        """The head of the next answer, final or interim."""
        return self._until(b"\r\n\r\n")

    def rest(self) -> bytes:
        """All bytes until the server closes; raises for a reset, which may lose answers."""
        found = [self._buffer]
        self._buffer = b""
        while part := self.socket.recv(65_536):
            found.append(part)
        return b"".join(found)

    def is_closed(self) -> bool:
        """Whether the server closes within the timeout and sends nothing more."""
        return self.rest() == b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(mark)
        return head + mark

    def read_exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _chunks(self) -> bytes:
        """A chunked body without trailers (RFC 9112, section 7.1)."""
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self.read_exactly(size)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return body

    def _more(self) -> None:
        part = self.socket.recv(65_536)
        if not part:
            raise EOFError(f"the server closed after {self._buffer!r}")
        self._buffer += part


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    """The bytes of a request; only Host is added, unless it is given."""
    if not any(field.lower().startswith("host:") for field in fields):
        fields = ("Host: test", *fields)
    head = "\r\n".join((line, *fields, "", ""))
    return head.encode("latin-1") + body


def ask(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> Answer:
    """Send bytes on a new connection and return the answer."""
    with Wire(port, tls) as wire:
        wire.send(*parts)
        return wire.answer()


def json_request(method: str, path: str, content: object, *fields: str) -> bytes:
    """The bytes of a request with a JSON body."""
    body = json.dumps(content).encode()
    kind = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return request(f"{method} {path} HTTP/1.1", *kind, *fields, body=body)


def login(port: int, name: str) -> str:
    """Register a user, log in, and return the Authorization field."""
    user = {"username": name, "email": f"{name}@example.org", "password": "correct horse"}
    assert ask(port, json_request("POST", "/auth/register", user)).status == 200
    known = {"username": name, "password": "correct horse"}
    answer = ask(port, json_request("POST", "/auth/login", known))
    return f"Authorization: Bearer {answer.json()['access_token']}"


SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def assert_secure(answer: Answer) -> None:
    """Assert the security headers of OWASP's REST Security Cheat Sheet, without HSTS."""
    for name, value in SECURITY.items():
        assert answer.all(name) == [value], (name, answer)
    for name in ("server", "x-powered-by", "set-cookie", "strict-transport-security"):
        assert answer.all(name) == []
