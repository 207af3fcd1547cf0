"""Cross-origin requests (the Fetch standard): which pages elsewhere may read the answers.

Credentials are never allowed. They are cookies and the like, which this server does not know; a
page that has an access token sends it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from litestar.types import HTTPScope

from eventapi.http.reply import Headers

_EXPOSED = (
    b"access-control-expose-headers",
    b"Allow, Deprecation, ETag, Event-Position, Link, Location, RateLimit, RateLimit-Policy, "
    b"Retry-After, Sunset, WWW-Authenticate, X-Request-ID",
)
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
        b"Min-Event-Position, X-Request-ID",
    ),
    (b"access-control-max-age", b"600"),
]
_VARY = (b"vary", b"Origin")


class Cors:
    """The origins of a setting, ``*`` for any; ``null``, which is anybody's, is never let in."""

    def __init__(self, origins: Iterable[str]) -> None:
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
        return [(b"access-control-allow-origin", origin), _EXPOSED, _VARY]

    def preflight(self, scope: HTTPScope) -> Headers | None:
        """What goes onto the answer to a browser that asks whether it may ask, if this is one."""
        if scope["method"] != "OPTIONS" or _header(scope, b"origin") is None:
            return None
        asked = _header(scope, b"access-control-request-method")
        return None if asked is None else list(_PREFLIGHT)


def _as_sent(origin: str) -> bytes:
    """An origin as browsers write it: in lower case, without a port that goes without saying."""
    scheme, _, host = origin.rstrip("/").lower().partition("://")
    host = host.removesuffix(_USUAL_PORTS.get(scheme, "/"))
    return f"{scheme}://{host}".encode() if host else scheme.encode()


_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _header(scope: HTTPScope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
