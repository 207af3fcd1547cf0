"""Bytes into requests: uvicorn's httptools callbacks, with bounds on input.

The parser holds a head until it is complete, and accepts heads without end. So input is parsed in
small pieces, and the bytes are counted that bring a request no further. Exact limits of a complete
head are those of `eventapi.http.head`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from eventapi.http.head import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    malformed,
    too_large,
    too_long,
)
from eventapi.http.problems import ProblemError
from eventapi.server.states import Stage

_HEAD_BYTES = MAX_TARGET_BYTES + MAX_HEADER_BYTES + 4 * MAX_HEADERS + 64
"""Size of the largest head within the limits, with its separators."""

_PIECE_BYTES = 2_048
"""Bytes parsed before the queue is checked: few requests fit into them."""

_ALLOW = (b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")

BETWEEN, HEAD, BODY = Stage
"""Members as globals, because looking them up in the Enum takes longer."""


class ParsingProtocol(HttpToolsProtocol):
    """The parser of a connection; a subclass queues and answers the requests."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self.stage = BETWEEN
        self.body_bytes = 0  # Received of the current body.
        self.problem: ProblemError | None = None  # Why a callback stopped the parser.
        self.begins_request = False  # Since the last call of `feed`.
        self.stalled_bytes = 0  # Parsed since the last progress.
        self._progress = 0  # Messages begun and parts of bodies received.
        self._is_upgrading = False  # The parser will stop after the head.
        self._is_restarting = False

    def accept(self, keep_alive: bool, expects_continue: bool) -> None:
        """Called when a head is complete and in `scope`."""
        raise NotImplementedError

    def discard(self) -> None:
        """Called for each part of a body whose request is answered already."""
        raise NotImplementedError

    def receive(self, body: bytes) -> None:
        """Called for each part of a body whose request is not answered yet."""
        raise NotImplementedError

    def complete(self) -> None:
        """Called at the end of a request."""
        raise NotImplementedError

    def feed(self, data: bytes, at: int) -> int:
        """Parse the next piece of the data; return the position behind it.

        Raises `httptools.HttpParserError`; `problem` may then say why.
        """
        piece = data[at : at + _PIECE_BYTES]  # No copy where it is all of the data.
        progress = self._progress
        try:
            self.parser.feed_data(piece)
            size = len(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._restart_behind_head()
            size = int(upgrade.args[0])
        stalled = progress == self._progress
        self.stalled_bytes = self.stalled_bytes + len(piece) if stalled else 0
        return at + size

    def flood(self) -> ProblemError | None:
        """The refusal of a request that is too large before it is complete."""
        if self.stalled_bytes <= _HEAD_BYTES and (
            self.stage is BETWEEN or len(self.headers) <= MAX_HEADERS
        ):
            return None
        if self.stage is not HEAD:
            return malformed("there is too much between the parts of the body")
        return too_long() if len(self.url) > MAX_TARGET_BYTES else too_large()

    def _restart_behind_head(self) -> None:
        """Parse the body of a request that asks for another protocol.

        The server ignores an upgrade (RFC 9110, section 7.8), but the parser stops after the head and
        would take the body for the next request. So a new parser gets a head with the same framing.
        """
        framing = b"content-length: 0"
        for name, value in self.cycle.scope["headers"]:
            if name in {b"content-length", b"transfer-encoding"}:
                framing = name + b": " + value
        self.parser = httptools.HttpRequestParser(self)
        self._is_restarting, self._is_upgrading = True, False
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._is_restarting = False

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._is_restarting:
            return
        self.begin_scope()
        self.stage = HEAD
        self._progress += 1
        self.begins_request = True

    def on_headers_complete(self) -> None:
        if self._is_restarting:
            return
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        scope: Any = self.scope
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        if version not in {"1.1", "1.0"}:
            raise self._stop(malformed(f"HTTP/{version} is not supported; use HTTP/1.1"))
        if method == b"CONNECT":
            detail = "CONNECT is not supported; this server is not a proxy"
            raise self._stop(ProblemError("method-not-allowed", detail, [_ALLOW]))
        if b"#" in self.url:
            raise self._stop(malformed("a target has no fragment"))
        self.put_target()
        # Trailers are not part of the head (RFC 9110, section 6.5.1).
        self.headers = []
        self.stage = BODY
        self._is_upgrading = self.parser.should_upgrade()
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        self.accept(keep_alive, self.expect_100_continue and version == "1.1")

    def begin_scope(self) -> None:
        """Make the scope of a new request."""
        super().on_message_begin()

    def put_target(self) -> None:
        """Put the target into the scope; raises `httptools.HttpParserInvalidURLError`."""
        target = httptools.parse_url(self.url)
        raw_path = target.path or b"/"
        path = raw_path.decode("ascii")
        self.scope |= {
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": target.query or b"",
        }

    def _stop(self, problem: ProblemError) -> ProblemError:
        """Store the problem, because the parser replaces the exception by its own."""
        self.problem = problem
        return problem

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        self.body_bytes += len(body)
        if self.cycle.response_complete:
            self.discard()
        else:
            self.receive(body)

    def on_message_complete(self) -> None:
        if self._is_upgrading:
            return
        self.stage = BETWEEN
        self.body_bytes = 0
        self.complete()
