"""The access log: a line per request, with the route instead of the path.

A path may contain personal data. At level debug, requests that match no route are logged with their
paths.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from litestar.types import Scope
from msgspec import UNSET, UnsetType

from eventapi.http.middleware.observers import Observer

_encode_lines = msgspec.json.Encoder().encode_lines

Write = Callable[[bytes], None]
"""Writes whole lines."""

_Entry = tuple[Any, int, float]
"""The scope, the status and the seconds of a request."""


class AccessRecord(msgspec.Struct, frozen=True, gc=False):
    """A line of the access log; ``user`` is the subject of an authenticated user."""

    time: str
    level: str
    logger: str
    method: str
    route: str
    status: int
    milliseconds: float
    request_id: str
    path: str | UnsetType
    user: str | UnsetType
    trace_id: str | UnsetType


def access_log(write: Write, as_json: bool, *, paths: bool = False) -> Observer:
    """An observer that writes the access log, ``paths`` of unknown routes included.

    The lines of one iteration of the event loop are encoded and written together, which halves the
    cost. A process that is killed during an iteration loses its lines.
    """
    entries: list[_Entry] = []
    lines_of = partial(_json_lines if as_json else _console_lines, paths=paths)

    def flush() -> None:
        batch = entries.copy()
        entries.clear()  # Before the write, so that a failing write does not keep them for ever.
        write(lines_of(_now(), batch))

    def log(scope: Scope, status: int, seconds: float) -> None:
        if not entries:
            asyncio.get_running_loop().call_soon(flush)
        entries.append((scope, status, seconds))

    return log


def _now() -> str:
    """The time as RFC 3339 in UTC, with microseconds."""
    second, rest = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:06}Z"


def _unknown_path(scope: Any) -> str:
    """The path of a request that no route matches, as it was sent, without its query."""
    if "path_template" in scope:
        return ""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    # Other servers may pass bytes that a path must not contain.
    return quote(path.partition(b"?")[0], safe="/%:@!$&'()*+,;=~")


def _json_lines(now: str, entries: list[_Entry], paths: bool) -> bytes:
    return _encode_lines(
        [
            AccessRecord(
                now,
                "info",
                "eventapi.access",
                scope["method"],
                scope.get("path_template", "-"),
                status,
                round(seconds * 1000, 3),
                scope["request_id"],
                (paths and _unknown_path(scope)) or UNSET,
                f"users/{scope['user']}" if scope.get("user") else UNSET,
                scope.get("trace_id", UNSET),
            )
            for scope, status, seconds in entries
        ]
    )


def _console_lines(now: str, entries: list[_Entry], paths: bool) -> bytes:
    lines = []
    for scope, status, seconds in entries:
        line = (
            f"{now} {status} {scope['method']} {scope.get('path_template', '-')}"
            f" {seconds * 1000:.3f} ms request_id={scope['request_id']}"
        )
        if paths and (path := _unknown_path(scope)):
            line += f" path={path}"
        if user := scope.get("user"):
            line += f" user=users/{user}"
        if trace_id := scope.get("trace_id"):
            line += f" trace_id={trace_id}"
        lines.append(line)
    lines.append("")
    return "\n".join(lines).encode()
