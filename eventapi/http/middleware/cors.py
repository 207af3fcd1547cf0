"""Cross-origin requests (the Fetch standard): which pages elsewhere may read the answers.

Credentials (cookies, client certificates) are allowed by a setting. This server has none, but a page
whose requests include them gets no answer unless they are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from litestar.types import HTTPScope

from eventapi.http.response import Headers

_EXPOSED = (
    b"access-control-expose-headers",
    b"Allow, Deprecation, ETag, Event-Position, Link, Location, RateLimit, RateLimit-Policy, "
    b"Retry-After, Sunset, WWW-Authenticate, X-Request-ID",
)
_ALLOW_HEADERS: Final = b"access-control-allow-headers"
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-max-age", b"600"),
]
_USUAL_HEADERS: Final = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
    b"Min-Event-Position, X-Request-ID"
)
_FIELD_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]{1,4096}")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_VARY = (b"vary", b"Origin")


class Cors:
    """The origins of a setting, ``*`` for any; ``null``, which is anybody's, is never let in."""

    def __init__(self, origins: Iterable[str], with_credentials: bool = False) -> None:
        """With credentials, origins must be listed: browsers refuse them together with ``*``."""
        self._credentials = [_CREDENTIALS] if with_credentials else []
        listed = {_as_sent(origin) for origin in origins}
        self._any = b"*" in listed
        self._listed = listed - {b"null", b"*"}

    def headers(self, scope: HTTPScope) -> Headers:
        """What goes onto an answer; the same for every origin unless ``Vary`` says otherwise."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        origin = _header(scope, b"origin")
        if origin is None or origin.lower() not in self._listed:
            return [_VARY]
        return [(b"access-control-allow-origin", origin), *self._credentials, _EXPOSED, _VARY]

    def preflight(self, scope: HTTPScope) -> Headers | None:
        """The headers that answer a browser's preflight; ``None`` for any other request.

        An origin that is let in may send any header.
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
    """An origin as browsers write it: in lower case, without a port that goes without saying."""
    scheme, _, host = origin.rstrip("/").lower().partition("://")
    host = host.removesuffix(_USUAL_PORTS.get(scheme, "/"))
    return f"{scheme}://{host}".encode() if host else scheme.encode()


_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _header(scope: HTTPScope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
