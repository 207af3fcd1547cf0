"""Cross-origin requests (CORS): which origins may read responses (Fetch standard).

A setting allows credentials (cookies, client certificates). This server has none, but a browser
hides the response from a page whose request includes them, unless they are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from litestar.types import HTTPScope

from eventapi.http.response import Headers

_EXPOSED = (
    b"access-control-expose-headers",
    b"Allow, Content-Disposition, Deprecation, ETag, Event-Position, Link, Location, RateLimit, "
    b"RateLimit-Policy, Retry-After, Sunset, WWW-Authenticate, X-Request-ID",
)
_ALLOW_HEADERS: Final = b"access-control-allow-headers"
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-max-age", b"600"),
]
_USUAL_HEADERS: Final = (
    b"Authorization, Change-Reason, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    b"Last-Event-ID, Min-Event-Position, X-Request-ID"
)
_FIELD_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]{1,4096}")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_VARY = (b"vary", b"Origin")


class Cors:
    """The CORS headers for the origins of a setting; ``*`` allows any origin.

    ``null`` is never allowed, because any sandboxed page has this origin.
    """

    def __init__(self, origins: Iterable[str], with_credentials: bool = False) -> None:
        """With credentials, list the origins: browsers refuse credentials with ``*``."""
        self._credentials = [_CREDENTIALS] if with_credentials else []
        listed = {_as_sent(origin) for origin in origins}
        self._any = b"*" in listed
        self._listed = listed - {b"null", b"*"}

    def headers(self, scope: HTTPScope) -> Headers:
        """The headers to add to a response; they depend on the origin only with ``Vary``."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        origin = _header(scope, b"origin")
        if origin is None or origin.lower() not in self._listed:
            return [_VARY]
        return [(b"access-control-allow-origin", origin), *self._credentials, _EXPOSED, _VARY]

    def preflight(self, scope: HTTPScope) -> Headers | None:
        """The headers that answer a browser's preflight; ``None`` for any other request.

        An allowed origin may send any header.
        """
        origin = _header(scope, b"origin")
        if scope["method"] != "OPTIONS" or origin is None:
            return None
        if _header(scope, b"access-control-request-method") is None:
            return None
        allowed = _USUAL_HEADERS
        if self._any or origin.lower() in self._listed:
            asked = _header(scope, b"access-control-request-headers") or b""
            allowed = asked if _FIELD_NAMES.fullmatch(asked) else allowed
        return [*_PREFLIGHT, (_ALLOW_HEADERS, allowed)]


def _as_sent(origin: str) -> bytes:
    """An origin as browsers write it: in lower case, without the default port."""
    scheme, _, host = origin.rstrip("/").lower().partition("://")
    host = host.removesuffix(_USUAL_PORTS.get(scheme, "/"))
    return f"{scheme}://{host}".encode() if host else scheme.encode()


_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _header(scope: HTTPScope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
