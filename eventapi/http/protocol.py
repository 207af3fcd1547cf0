"""What is answered to bytes that are no HTTP: a problem document, as to every other error.

Uvicorn answers those by itself, before there is a request that the app could see.
"""

from __future__ import annotations

import secrets
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from eventapi.http.edge import complete
from eventapi.http.problems import ProblemError, problem_reply


class ProblemProtocol(HttpToolsProtocol):
    """Uvicorn's protocol on httptools, with its one answer of its own made ours."""

    def send_400_response(self, msg: str) -> None:
        request_id = secrets.token_hex(16)
        scope: Any = {"type": "http", "path": "", "request_id": request_id}
        error = ProblemError("malformed-body", "what came is no HTTP/1.1 request")
        reply = problem_reply(error, scope)
        complete(scope, reply.headers, request_id.encode())
        length = (b"content-length", b"%d" % len(reply.body))
        headers = (*self.server_state.default_headers, *reply.headers, length)
        fields = [b"%s: %s\r\n" % field for field in (*headers, (b"connection", b"close"))]
        self.transport.write(b"".join((STATUS_LINE[reply.status], *fields, b"\r\n", reply.body)))
        self.transport.close()
