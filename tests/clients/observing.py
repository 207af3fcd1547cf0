"""Send a request to both services, and list the differences between their answers."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

ABSENT: Final = "absent"
"""The value in a difference for an answer that lacks the place."""

_IGNORED: Final = {"date", "server"}
_COUNTED: Final = {"content-length", "x-request-id", "etag", "event-position"}
"""Headers that must be present, with any value."""

_OF_A_STATUS: Final = {"allow", "content-length", "content-type", "location", "www-authenticate"}

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
_VOLATILE: Final = {
    "refresh_token": str,
    "request_id": str,
    "id": int,
    "expires_in": int,
}


@dataclass(frozen=True)
class Request:
    """A request as it is sent; only Host and Content-Length are added."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """An answer without the values that differ each time."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Difference:
    """A difference between two answers to the request of a case.

    ``place`` is `status 422 -> 400`, `header NAME` or a path into the body, `body.detail[].msg`.
    """

    case: str
    place: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.case}: {self.place}: {self.old!r} -> {self.new!r}"


def ask(url: str, request: Request) -> Answer:
    """Send a request to a service."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        if name.lower() not in _IGNORED:
            shown = "VALUE" if name.lower() in _COUNTED else value.replace(url, "URL")
            headers[name.lower()] = shown
    return Answer(response.status, headers, _body(content, headers.get("content-type", "")))


def _body(content: bytes, kind: str) -> Any:
    if not content:
        return None
    if "json" in kind:
        return _steady(json.loads(content))
    return "a page" if "html" in kind else content.decode()


def _steady(value: Any) -> Any:
    """A body without the values that differ between any two services."""
    if isinstance(value, list):
        return [_steady(one) for one in value]
    if isinstance(value, dict):
        return {name: _steady_member(name, one) for name, one in value.items()}
    return value


def _steady_member(name: str, value: Any) -> Any:
    if name == "access_token" and isinstance(value, str):
        claims = jwt.decode(value, options={"verify_signature": False})
        return {"header": jwt.get_unverified_header(value), "claims": sorted(claims)}
    kind = _VOLATILE.get(name)
    if kind is not None and type(value) is kind:
        return kind.__name__
    if name == "created_at" and isinstance(value, str):
        return _TIME.sub("TIME", value)
    return _steady(value)


def differences(case: str, old: Answer, new: Answer) -> Iterator[Difference]:
    """Yield the differences between two answers.

    If the statuses differ, that difference has both bodies, and headers that depend on the status
    are not compared.
    """
    same_status = old.status == new.status
    for name in sorted(old.headers.keys() | new.headers.keys()):
        before, after = old.headers.get(name, ABSENT), new.headers.get(name, ABSENT)
        if before != after and (same_status or name not in _OF_A_STATUS):
            yield Difference(case, f"header {name}", before, after)
    if same_status:
        for place, before, after in _apart("body", old.body, new.body):
            yield Difference(case, place, before, after)
    else:
        yield Difference(case, f"status {old.status} -> {new.status}", old.body, new.body)


def _apart(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _apart(f"{place}.{name}", old.get(name, ABSENT), new.get(name, ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for before, after in zip(old, new, strict=True):
            yield from _apart(f"{place}[]", before, after)
    elif old != new or type(old) is not type(new):
        yield place, old, new
