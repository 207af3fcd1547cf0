"""The access log: a line a request, of the route and not the path, so nothing personal in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar.types import Scope
from msgspec import UNSET, UnsetType

from eventapi.http.observers import Observer

_encode_lines = msgspec.json.Encoder().encode_lines

Write = Callable[[bytes], None]
"""Writes whole lines."""

_Entry = tuple[int, Any, int, float]
"""The time in nanoseconds, the scope, the status and the seconds of a request."""


class Access(msgspec.Struct, frozen=True, gc=False):
    """A request, as the log tells of it; ``user`` is the subject of who was let in."""

    time: str
    level: str
    logger: str
    method: str
    route: str
    status: int
    milliseconds: float
    request_id: str
    user: str | UnsetType
    trace_id: str | UnsetType


def access_log(write: Write, as_json: bool) -> Observer:
    """The access log onto a writer of lines.

    The lines of one turn of the event loop are made and written together, which costs half as much
    as one by one; a process that is killed by force in the middle of a turn takes them along.
    """
    entries: list[_Entry] = []
    lines_of = _Lines().json if as_json else _Lines().console

    def flush() -> None:
        write(lines_of(entries))
        entries.clear()

    def log(scope: Scope, status: int, seconds: float) -> None:
        if not entries:
            asyncio.get_running_loop().call_soon(flush)
        entries.append((time.time_ns(), scope, status, seconds))

    return log


class _Lines:
    """Entries as lines; most of a time stays the same for a second."""

    def __init__(self) -> None:
        self._second = 0
        self._stamp = ""

    def json(self, entries: list[_Entry]) -> bytes:
        """Lines for programs."""
        return _encode_lines(
            [
                Access(
                    self._time(nanoseconds),
                    "info",
                    "eventapi.access",
                    scope["method"],
                    scope.get("path_template", "-"),
                    status,
                    round(seconds * 1000, 3),
                    scope["request_id"],
                    f"users/{scope['user']}" if scope.get("user") else UNSET,
                    scope.get("trace_id", UNSET),
                )
                for nanoseconds, scope, status, seconds in entries
            ]
        )

    def console(self, entries: list[_Entry]) -> bytes:
        """Lines for people."""
        lines = [
            f"{self._time(nanoseconds)} {status} {scope['method']}"
            f" {scope.get('path_template', '-')} {seconds * 1000:.3f} ms"
            f" request_id={scope['request_id']}"
            f"{_named('user=users/', scope.get('user'))}{_named('trace_id=', scope.get('trace_id'))}\n"
            for nanoseconds, scope, status, seconds in entries
        ]
        return "".join(lines).encode()

    def _time(self, nanoseconds: int) -> str:
        """RFC 3339 in UTC, with microseconds."""
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{rest // 1000:06}Z"


def _named(name: str, value: object) -> str:
    return f" {name}{value}" if value else ""
