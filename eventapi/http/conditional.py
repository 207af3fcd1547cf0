"""Conditional requests (RFC 9110, section 13). An entity tag is a quoted version."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,18}")


def etag(version: int) -> bytes:
    """The strong entity tag of a version."""
    return b'"%d"' % version


def conditions(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
    """If-Match and If-None-Match; several lines of one field are joined to one list."""
    match: str | None = None
    none_match: str | None = None
    for name, value in headers:
        if name == b"if-match":
            match = _joined(match, value)
        elif name == b"if-none-match":
            none_match = _joined(none_match, value)
    return match, none_match


def _joined(before: str | None, line: bytes) -> str:
    text = line.decode("latin-1")
    return text if before is None else f"{before},{text}"


def accepted_versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that an If-Match header accepts; ``None`` for any.

    A tag that the server never issued matches nothing. A weak tag matches like the strong one,
    although RFC 9110 requires strong comparison: a proxy that compresses responses makes tags
    weak, and the version in the tag still identifies one content (docs/decisions/etags.md).
    """
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(int(tag) for _, tag in _TAG.findall(if_match) if _VERSION.fullmatch(tag))


def is_known(if_none_match: str | None, version: int | str) -> bool:
    """Whether an If-None-Match header names this version or tag (weak comparison)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(tag == str(version) for _, tag in _TAG.findall(if_none_match))
