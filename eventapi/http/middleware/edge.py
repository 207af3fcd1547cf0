"""The edge: a plain ASGI wrapper around the app, for every request and response.

Litestar's middleware is not called for unknown paths and methods. So this wrapper adds the request
id and the security headers to every response, and notifies the observers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from eventapi.http.head import validate_head
from eventapi.http.middleware.cors import Cors
from eventapi.http.middleware.observers import Observer
from eventapi.http.middleware.rate_limit import RateLimiter, rate_limit_fields
from eventapi.http.middleware.trailing_slash import trailing_slash_response
from eventapi.http.problems import problem_response
from eventapi.http.response import Headers, Response

_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_DOCS_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
)
_NO_STORE = (b"cache-control", b"no-store")
_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
"""RFC 6797; sent only if TLS was used, to this server or to a trusted proxy in front of it."""


class EdgeMiddleware:
    """Wraps an ASGI app; scopes other than HTTP pass through unchanged."""

    def __init__(
        self,
        app: ASGIApp,
        observers: Sequence[Observer],
        rate_limiter: Callable[[], RateLimiter],
        cors: Cors | None = None,
    ) -> None:
        """``observers`` may grow until the first request.

        ``rate_limiter`` is called from the first request on, and must return one then.
        """
        self._app = app
        self._observers = observers
        self._rate_limiter = rate_limiter
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, after an unforeseen error too."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given, refusal = validate_head(scope)
        # It is no secret, and a system call for its bits would take a twentieth of a read.
        request_id = given or b"%032x" % random.getrandbits(128)
        scope["request_id"] = request_id.decode()  # type: ignore[typeddict-unknown-key]  # ours
        status = 0
        told = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, told
            if message["type"] == "http.response.start":
                status = message["status"]
                headers: Headers = message["headers"]  # type: ignore[assignment]  # a list
                add_common_headers(scope, headers, request_id)
                headers += rate_limit_fields(scope)
                if self._cors is not None:
                    headers += self._cors.headers(scope)
            elif not told and not message.get("more_body"):
                told = True
                self._notify(scope, status, started)
            await send(message)

        try:
            await self._check(scope, refusal)
            app = self._preflight(scope) or trailing_slash_response(scope) or self._app
            await app(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise
            await problem_response(error, scope)(scope, receive, send_with_headers)
        finally:
            if not told:
                self._notify(scope, status, started)

    def _notify(self, scope: HTTPScope, status: int, started: float) -> None:
        seconds = time.perf_counter() - started
        for observe in self._observers:
            observe(scope, status, seconds)

    async def _check(self, scope: HTTPScope, refusal: Exception | None) -> None:
        """Raise the refusal of a bad request; rate limits count the request anyway."""
        one_too_many = await self._rate_limiter().check(scope)
        # The server's protocols, and middleware outside, put their refusal into the scope.
        if "refusal" in scope:
            raise scope.pop("refusal")  # type: ignore[typeddict-item]  # ours
        if refusal is not None:
            raise refusal
        # Litestar merges doubled slashes, but a path rule of a proxy in front may not.
        if "//" in scope["path"]:
            raise NotFoundException
        if one_too_many is not None:
            raise one_too_many

    def _preflight(self, scope: HTTPScope) -> Response[Any] | None:
        headers = None if self._cors is None else self._cors.preflight(scope)
        return None if headers is None else Response(204, headers)


def add_common_headers(scope: HTTPScope, headers: Headers, request_id: bytes) -> None:
    """Add the headers that every response has, except those of CORS."""
    headers.append((b"x-request-id", request_id))
    headers += _SECURITY
    names = dict(headers)
    if b"content-security-policy" not in names:
        headers.append(_DOCS_POLICY if scope["path"].startswith("/docs") else _API_POLICY)
    if b"cache-control" not in names:
        headers.append(_NO_STORE)
    if scope["scheme"] == "https":
        headers.append(_ONLY_TLS)
