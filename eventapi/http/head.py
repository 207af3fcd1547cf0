"""Checks of the head of a request, after any parser: RFC 9112, and our own limits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from litestar.types import HTTPScope

from eventapi.http.problems import ProblemError
from eventapi.http.response import Headers

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
MAX_AUTHORIZATION_BYTES = 8_192 + len("Bearer ")
MAX_TARGET_BYTES = 8_192
"""RFC 9110, section 4.1, asks for 8,000 at least."""

MAX_FORWARDED = 64
"""Addresses in X-Forwarded-For."""

_MAX_PARTS = {
    b"accept": 128,
    b"accept-encoding": 128,
    b"access-control-request-headers": 256,
    b"content-type": 16,
    b"if-match": 256,
    b"if-none-match": 256,
    b"x-forwarded-for": MAX_FORWARDED,
}
"""Maximum elements and parameters of fields that are split; each costs far more than its bytes."""

_FEW_BYTES = 512
"""A head up to this size has few parts, so they are not counted."""

CLOSE: Headers = [(b"connection", b"close")]
"""For the refusal of a message whose end is uncertain (RFC 9112, section 9.6)."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""RFC 9110, section 5.6.2."""

_HOST = re.compile(
    rb"([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(:[0-9]{0,5})?"
    rb"|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{0,5})?"
)
"""RFC 9110, section 7.2, without literals of future IP versions, and without empty names."""


def validate_head(  # noqa: C901 - every request pays for calls
    scope: HTTPScope,
) -> tuple[bytes | None, ProblemError | None]:
    """Check a head: return the client's request id if valid, and the refusal if any."""
    headers = scope["headers"]
    request_id, refusal, hosts, size = None, None, 0, 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            if not is_host(value):
                refusal = malformed("the Host is not a host")
        elif name == b"authorization":
            if len(value) > MAX_AUTHORIZATION_BYTES:
                size = MAX_HEADER_BYTES + 1
        elif name == b"x-request-id":
            request_id = value if _TOKEN.fullmatch(value) else None
        elif name == b"transfer-encoding":
            refusal = _coding(value, scope["http_version"]) or refusal
    if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:  # type: ignore[arg-type]  # a list
        refusal = too_large()
    elif len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        refusal = too_long()
    elif size > _FEW_BYTES and _has_too_many_parts(headers):
        refusal = too_large()
    elif hosts != 1 and (hosts or scope["http_version"] == "1.1"):
        refusal = malformed("a request has one Host")  # RFC 9112, section 3.2.
    return request_id, refusal


def _has_too_many_parts(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a list-valued field has more parts than its limit, on all its lines."""
    counts: dict[bytes, int] = {}
    for name, value in headers:
        if name in _MAX_PARTS:
            # The parser of tags accepts them without commas too.
            here = max(value.count(b",") + value.count(b";") + 1, value.count(b'"') // 2)
            counts[name] = found = counts.get(name, 0) + here
            if found > _MAX_PARTS[name]:
                return True
    return False


@lru_cache(maxsize=256)
def is_host(value: bytes) -> bool:
    """Whether this is a valid Host. Cached, because most requests name one of few."""
    return _HOST.fullmatch(value) is not None


def _coding(value: bytes, version: str) -> ProblemError | None:
    """The refusal of a transfer coding, if any (RFC 9112, sections 6.1 and 7).

    Parsers read a chunked message of HTTP/1.0 in different ways, so it is refused.
    """
    if value.lower() == b"chunked" and version != "1.0":
        return None
    return malformed("the only transfer coding is chunked, in HTTP/1.1")


def malformed(detail: str) -> ProblemError:
    """The refusal of a malformed message; it closes the connection."""
    return ProblemError("malformed-body", detail, CLOSE)


def too_large() -> ProblemError:
    """The refusal of a head with too many or too large fields."""
    return ProblemError("headers-too-large", "the header fields are too many or too large")


def too_long() -> ProblemError:
    """The refusal of a target that is too long."""
    return ProblemError("uri-too-long", f"path and query have {MAX_TARGET_BYTES} bytes at most")
