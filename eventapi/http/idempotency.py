"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from eventapi.journal.batch import IdempotencyKey
from events.errors import Fault, Invalid

_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
"""A string of a structured field (RFC 9651, section 3.3.3)."""

_ESCAPE = re.compile(r'\\(["\\])')
_BARE = re.compile(r"[\x21\x23-\x7e]{1,255}")


def parse_key(header: str) -> str:
    """The key in an Idempotency-Key header, quoted or bare; raises `Invalid`."""
    quoted, bare = _QUOTED.fullmatch(header), _BARE.fullmatch(header)
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted[1])
    if bare is None:
        detail = "Idempotency-Key must be 1 to 255 visible characters, quoted or bare"
        raise Invalid(Fault("", detail, where="header"))
    return bare[0]


def idempotency_key(scope: str, key: str, head: Sequence[str], content: bytes) -> IdempotencyKey:
    """The key of a request, and the digest of the request that it was sent with.

    ``scope`` is the owner of the key: two scopes may use the same key. ``head`` has the parts of
    the request's head that must be equal when the request is repeated.
    """
    request = hashlib.sha256("\0".join(head).encode() + b"\0" + content)
    return IdempotencyKey(hashlib.sha256(f"{scope}\0{key}".encode()).hexdigest(), request.digest())
